// What the kernels of losses share: the terms of a loss, a row's hard targets, and the mean over rows.
#pragma once

#include "kernels/cuda/rows.h"
#include "kernels/loss.h"

namespace retort::RETORT_BACKEND {
namespace {

/// Everything that is the same for all rows. A weight of 0 means: do not look.
struct Terms {
  float hard_weight = 1, soft_weight = 0, temperature = 1;
  bool convex = true;

  __host__ __device__ bool hard() const { return hard_weight != 0; }
  __host__ __device__ bool soft() const { return soft_weight != 0; }
  /// Of a row's KL divergence or cross-entropy.
  __host__ __device__ float soft_loss_scale() const { return convex ? temperature * temperature : 1; }
  /// Of q - p in a row's gradient.
  __host__ __device__ float soft_gradient_scale() const {
    return soft_weight * (convex ? temperature : 1 / temperature);
  }
};

struct RowLoss {
  float hard, soft;
};

/// The hard target of class i in a row, as kernels/loss.h defines it.
struct RowTarget {
  int label = -1, label2 = -1;
  float at_label = 0, at_label2 = 0, elsewhere = 0;
  bool valid = true;  ///< the labels are classes
  /// Without labels every target is 0 (or uniform).
  __device__ RowTarget(const HardTargets& targets, std::int64_t row, int classes)
      : elsewhere(static_cast<float>(targets.smoothing) / static_cast<float>(classes)) {
    const float weight = targets.weight ? targets.weight[row] : 1, rest = 1 - static_cast<float>(targets.smoothing);
    if (targets.labels) label = checked(targets.labels[row], classes);
    if (targets.labels2) label2 = checked(targets.labels2[row], classes);
    at_label = rest * weight;
    at_label2 = rest * (1 - weight);
  }
  __device__ float operator()(int i) const {
    float target = elsewhere;
    if (i == label) target += at_label;
    if (i == label2) target += at_label2;
    return target;
  }

 private:
  __device__ int checked(std::int64_t found, int classes) {
    const bool exists = found >= 0 && found < classes;
    valid = valid && exists;
    return exists ? static_cast<int>(found) : -1;
  }
};

/// The terms of kernels/loss.h.
inline Terms terms_of(const DistillationSettings& settings) {
  const bool convex = settings.convention == Convention::convex;
  return {static_cast<float>(settings.lambda), static_cast<float>(convex ? 1 - settings.lambda : 1),
          static_cast<float>(settings.temperature), convex};
}

/// out[0..2] = total, hard and soft means; with one output the total alone. One block, in a fixed order.
__global__ void mean_losses(std::int64_t rows, Terms terms, const RowLoss* losses, float* out, int outputs) {
  struct Shared {
    double hard[kRowThreads], soft[kRowThreads];
  };
  Shared& shared = dev::shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  double hard = 0, soft = 0;
  for (std::int64_t row = t; row < rows; row += kRowThreads) {
    hard += double{losses[row].hard};
    soft += double{losses[row].soft};
  }
  shared.hard[t] = hard;
  shared.soft[t] = soft;
  dev::syncthreads();
  if (t != 0) return;
  hard = soft = 0;
  for (int i = 0; i < kRowThreads; ++i) {
    hard += shared.hard[i];
    soft += shared.soft[i];
  }
  hard /= static_cast<double>(rows);
  soft /= static_cast<double>(rows);
  out[0] = static_cast<float>(double{terms.hard_weight} * hard + double{terms.soft_weight} * soft);
  if (outputs < 3) return;
  out[1] = static_cast<float>(hard);
  out[2] = static_cast<float>(soft);
}

inline void launch_mean_losses(Stream stream, std::int64_t rows, const Terms& terms, const RowLoss* losses, void* out,
                               int outputs) {
  dev::launch("mean_losses", mean_losses, {{1}, {kRowThreads}}, stream, rows, terms, losses, static_cast<float*>(out),
              outputs);
}

}  // namespace
}  // namespace retort::RETORT_BACKEND
