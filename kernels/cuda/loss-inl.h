// What the kernels of losses share: the terms of a loss, a row's hard targets, and the mean over rows.
//
// Kernels take a TermSource and ask it for the Terms themselves: a graph must not keep the numbers of the step in which
// it was made.
#pragma once

#include "kernels/cuda/distillation.h"
#include "kernels/cuda/rows.h"
#include "kernels/loss.h"

namespace retort::RETORT_BACKEND {
namespace {

/// What is the same for all rows. A term of weight 0 is not computed, and its inputs are not read.
struct Terms {
  float hard_weight = 1, soft_weight = 0, temperature = 1;
  bool convex = true;
  float constant = 1;  ///< of the loss's formula

  __host__ __device__ bool hard() const { return hard_weight != 0; }
  __host__ __device__ bool soft() const { return soft_weight != 0; }
  /// Of a row's KL divergence or cross-entropy.
  __host__ __device__ float soft_loss_scale() const { return convex ? temperature * temperature : 1; }
  /// Of q - p in a row's gradient.
  __host__ __device__ float soft_gradient_scale() const {
    return soft_weight * (convex ? temperature : 1 / temperature);
  }
};

struct alignas(8) RowLoss {
  float hard, soft;
};

/// The hard target of class i in a row, as kernels/loss.h defines it.
struct RowTarget {
  int label = -1, label2 = -1;
  float at_label = 0, at_label2 = 0, elsewhere = 0;
  bool valid = true;  ///< the labels are classes
  /// Without labels every target is 0 (or uniform).
  __device__ RowTarget(const HardTargets& targets, std::int64_t row, int classes)
      : elsewhere(static_cast<float>(targets.smoothing) * dev::reciprocal(static_cast<float>(classes))) {
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
__host__ __device__ inline Terms terms_of(const LossScalars& numbers, bool convex, float constant) {
  const float lambda = static_cast<float>(numbers.lambda), weight = static_cast<float>(numbers.soft_weight);
  return {lambda, convex ? weight * (1 - lambda) : weight, static_cast<float>(numbers.temperature), convex, constant};
}
inline Terms terms_of(const DistillationSettings& settings) {
  return terms_of({settings.temperature, settings.lambda, settings.soft_weight},
                  settings.convention == Convention::convex, static_cast<float>(constant_of(settings)));
}

/// The terms of a launch: the settings' own, or made from what lies in the device's memory when the kernel runs.
class TermSource {
 public:
  explicit TermSource(const DistillationSettings& settings) : own_(terms_of(settings)), scalars_(settings.scalars) {}
  __device__ Terms now() const { return scalars_ ? terms_of(*scalars_, own_.convex, own_.constant) : own_; }

 private:
  Terms own_;
  const LossScalars* scalars_;
};

/// Losses of classes over the batch, where a loss has such a part: their mean is added to the soft term.
struct ClassLosses {
  const float* values = nullptr;
  int classes = 0;
};

inline constexpr int kMeanThreads = 1024;

/// out[0..2] = total, hard and soft means; with one output the total alone. One block, in a fixed order.
__global__ void __launch_bounds__(kMeanThreads) mean_losses(std::int64_t rows, TermSource source, const RowLoss* losses,
                                                            ClassLosses of_classes, float* out, int outputs) {
  struct Shared {
    double hard[kMeanThreads], soft[kMeanThreads];
  };
  Shared& shared = dev::shared<Shared>();
  const Terms terms = source.now();
  const int t = static_cast<int>(threadIdx.x);
  double hard = 0, soft = 0, of_class = 0;
#pragma unroll 8
  for (std::int64_t row = t; row < rows; row += kMeanThreads) {
    const auto loss = dev::load<RowLoss>(losses + row);
    hard += double{loss.hard};
    soft += double{loss.soft};
  }
  if (terms.soft())
    for (int i = t; i < of_classes.classes; i += kMeanThreads) of_class += double{of_classes.values[i]};
  shared.hard[t] = hard;
  shared.soft[t] = soft / static_cast<double>(rows) +
                   (of_classes.classes > 0 ? double{terms.constant} * of_class / of_classes.classes : 0);
  dev::syncthreads();
  for (int half = kMeanThreads / 2; half > 0; half /= 2) {
    if (t < half) {
      shared.hard[t] += shared.hard[t + half];
      shared.soft[t] += shared.soft[t + half];
    }
    dev::syncthreads();
  }
  if (t != 0) return;
  hard = shared.hard[0] / static_cast<double>(rows);
  soft = shared.soft[0];
  out[0] = static_cast<float>(double{terms.hard_weight} * hard + double{terms.soft_weight} * soft);
  if (outputs < 3) return;
  out[1] = static_cast<float>(hard);
  out[2] = static_cast<float>(soft);
}

inline void launch_mean_losses(Stream stream, std::int64_t rows, const DistillationSettings& settings,
                               const RowLoss* losses, float* out, int outputs, const ClassLosses& of_classes = {}) {
  dev::launch("mean_losses", mean_losses, {{1}, {kMeanThreads}}, stream, rows, TermSource(settings), losses, of_classes,
              out, outputs);
}

/// Calls f with the RowKind for these logits and gradients; v and dz may be null.
template <class T, class F>
void with_logits(Rows rows, const T* z, const T* v, const T* dz, const F& f) {
  with_rows<T>(rows.classes, rows.classes % kPack<T> == 0 && aligned16(z) && aligned16(v) && aligned16(dz), f);
}

}  // namespace
}  // namespace retort::RETORT_BACKEND
