// Cross-entropy and plain distillation of bf16 logits, up to 1024 classes in packs of 8: a warp a row, whose
// exponentials stay in registers from the sums to the gradient. This is loss.cu's kernel for the case that training
// runs, with as few instructions an element as there are operations in the formula: maxima of two elements at a time,
// exponentials of 2, and the targets' part of the gradient added where the labels are, in place of asked for
// everywhere.
#pragma once

#include "kernels/cuda/loss-inl.h"

namespace retort::RETORT_BACKEND {
namespace {

/// A row of logits in the registers of a warp, two a word. Past its end a lane holds the first pack once more, which
/// leaves the maximum as it is.
template <int kPacks>
class Bf16Row {
 public:
  static constexpr int kPer = kPack<BFloat16>, kItems = kPacks * kPer;
  using Words = Packed<BFloat16, kPer>;

  __device__ __forceinline__ Bf16Row(const BFloat16* row, int classes) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j) packs_[j] = dev::load<Words>(row + (index(j) < classes ? index(j) : 0));
  }
  /// The class of the first element of the lane's pack j.
  __device__ __forceinline__ static int index(int j) { return (j * kWarp + WarpGroup::rank()) * kPer; }
  /// The lane whose packs hold a class.
  __device__ __forceinline__ static int lane_of(int i) { return i / kPer % kWarp; }

  __device__ __forceinline__ void get(int j, float (&values)[kPer]) const { widen<BFloat16>(packs_[j], values); }
  /// The row's largest element, NaN if it has one, in every lane.
  __device__ __forceinline__ float top() const {
    std::uint32_t largest = packs_[0].v[0];
#pragma unroll
    for (int j = 0; j < kPacks; ++j)
#pragma unroll
      for (int k = 0; k < kPer / 2; ++k) largest = dev::max_bf16(largest, packs_[j].v[k]);
    for (int step = kWarp / 2; step > 0; step /= 2)
      largest = dev::max_bf16(largest, dev::shfl_xor(dev::kAllLanes, largest, step));
    return dev::max_nan(std::bit_cast<float>(largest << 16), std::bit_cast<float>(largest & 0xFFFF0000u));
  }

 private:
  Words packs_[kPacks];
};

/// One row by the calling warp: its loss and, where dz is not null, its gradient.
template <bool kHard, bool kSoft, int kPacks>
__device__ __forceinline__ RowLoss bf16_row(std::int64_t rows, int classes, const Terms& terms, const RowTarget& target,
                                            const BFloat16* z, const BFloat16* v, BFloat16* dz) {
  using Row = Bf16Row<kPacks>;
  constexpr int kPer = Row::kPer;
  constexpr float kLog2e = 1.44269504f, kLog2 = 0.693147181f;
  const WarpGroup group;
  const Row student(z, classes), teacher(kSoft ? v : z, classes);
  const float top_z = student.top(), top_v = kSoft ? teacher.top() : 0;
  const float scale = kLog2e * dev::reciprocal(terms.temperature), share_of_vs = terms.convex ? 1 : 0;
  const float start_e = -top_z * kLog2e, start_q = -top_z * scale, start_p = -top_v * scale;
  const auto power = [&](float a) { return dev::fast_exp2(fmaf(a, kLog2e, start_e)); };

  // exp(z - max), and q and p before they are divided by their sums. All three would take more registers than leave
  // room for two blocks on a multiprocessor: beside the others the first is computed again for the gradient.
  constexpr bool kAgain = kHard && kSoft;
  float e[Row::kItems], q[Row::kItems], p[Row::kItems];
  float sum = 0, sum_q = 0, sum_p = 0, cross = 0;
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    if (Row::index(j) >= classes) continue;
    float a[kPer], b[kPer];
    student.get(j, a);
    teacher.get(j, b);
#pragma unroll
    for (int k = 0; k < kPer; ++k) {
      const int at = j * kPer + k;
      if (kHard) {
        const float hard = power(a[k]);
        if (!kAgain) e[at] = hard;
        sum += hard;
      }
      if (kSoft) {
        const float zs = fmaf(a[k], scale, start_q), vs = fmaf(b[k], scale, start_p);
        q[at] = dev::fast_exp2(zs);
        p[at] = dev::fast_exp2(vs);
        sum_q += q[at];
        sum_p += p[at];
        // log p - log q is a difference of scaled logits: exact enough where the quotient of two tiny numbers is not.
        if (p[at] != 0) cross += p[at] * fmaf(vs, share_of_vs, -zs);
      }
    }
  }
  float below = 0;  // the sum of z - max, which smoothed targets ask for
  if (kHard && target.elsewhere != 0) {
    for (int j = 0; j < kPacks; ++j) {
      if (Row::index(j) >= classes) continue;
      float a[kPer];
      student.get(j, a);
      for (int k = 0; k < kPer; ++k) below += a[k] - top_z;
    }
    below = group.sum(below);
  }

  RowLoss loss{0, 0};
  float of_e = 0, of_q = 0, of_p = 0;  // of the gradient
  const float per_row = dev::reciprocal(static_cast<float>(rows)), hard_scale = terms.hard_weight * per_row;
  if (kHard) {
    sum = group.sum(sum);
    float dot = target.elsewhere != 0 ? target.elsewhere * below : 0;
    if (target.label >= 0) dot += target.at_label * (float(z[target.label]) - top_z);
    if (target.label2 >= 0) dot += target.at_label2 * (float(z[target.label2]) - top_z);
    of_e = hard_scale * dev::reciprocal(sum);
    // The targets of a row add up to 1.
    loss.hard = target.valid ? logf(sum) - dot : NAN;
  }
  if (kSoft) {
    sum_q = group.sum(sum_q);
    sum_p = group.sum(sum_p);
    cross = group.sum(cross) * kLog2;
    const float soft_scale = terms.soft_gradient_scale() * per_row, share_p = dev::reciprocal(sum_p);
    of_q = soft_scale * dev::reciprocal(sum_q);
    of_p = -soft_scale * share_p;
    loss.soft = terms.soft_loss_scale() * (cross * share_p - (terms.convex ? logf(sum_p) : 0) + logf(sum_q));
  }
  if (!dz) return loss;

  const float everywhere = kHard ? -hard_scale * target.elsewhere : 0;
  const auto gradient = [&](float of_label, float hard, float soft, float taught) {
    float result = of_label;
    if (kHard) result = fmaf(hard, of_e, result);
    if (kSoft) result = fmaf(taught, of_p, fmaf(soft, of_q, result));
    return result;
  };
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    if (Row::index(j) >= classes) continue;
    float a[kPer], results[kPer];
    if (kAgain) student.get(j, a);
#pragma unroll
    for (int k = 0; k < kPer; ++k) {
      const int at = j * kPer + k;
      const float hard = kAgain ? power(a[k]) : kHard ? e[at] : 0;
      results[k] = gradient(everywhere, hard, kSoft ? q[at] : 0, kSoft ? p[at] : 0);
    }
    dev::store(dz + Row::index(j), narrow<BFloat16>(results));
  }
  if (!kHard) return loss;
  // The labels' own elements once more, by the lane that wrote them.
  const auto put = [&](int label, float weight) {
    if (label < 0 || Row::lane_of(label) != WarpGroup::rank()) return;
    const float a = float(z[label]), b = kSoft ? float(v[label]) : 0;
    dz[label] = BFloat16(gradient(everywhere - hard_scale * weight, power(a),
                                  kSoft ? dev::fast_exp2(fmaf(a, scale, start_q)) : 0,
                                  kSoft ? dev::fast_exp2(fmaf(b, scale, start_p)) : 0));
  };
  const bool same = target.label == target.label2;
  put(target.label, same ? target.at_label + target.at_label2 : target.at_label);
  if (!same) put(target.label2, target.at_label2);
  return loss;
}

template <int kPacks>
__global__ void __launch_bounds__(kRowThreads, 2)
    bf16_loss(std::int64_t rows, int classes, TermSource source, HardTargets targets, const BFloat16* z,
              const BFloat16* v, RowLoss* losses, BFloat16* dz) {
  const std::int64_t row = row_of_group<WarpGroup>();
  if (row >= rows) return;
  const Terms terms = source.now();
  const RowTarget target(terms.hard() ? targets : HardTargets{}, row, classes);
  const std::int64_t first = row * classes;
  z += first;
  v = terms.soft() ? v + first : z;
  if (dz) dz += first;
  RowLoss loss{0, 0};
  if (terms.hard() && terms.soft())
    loss = bf16_row<true, true, kPacks>(rows, classes, terms, target, z, v, dz);
  else if (terms.soft())
    loss = bf16_row<false, true, kPacks>(rows, classes, terms, target, z, v, dz);
  else
    loss = bf16_row<true, false, kPacks>(rows, classes, terms, target, z, v, dz);
  if (WarpGroup::rank() == 0) losses[row] = loss;
}

}  // namespace
}  // namespace retort::RETORT_BACKEND
