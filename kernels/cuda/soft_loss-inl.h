// What the kernels of the soft terms beside plain KD share: a row's cross-entropy, and its standardised logits.
//
// Unlike loss.cu they keep the logits in registers and compute an exponential again where it is needed twice: the
// losses need too many different exponentials to keep them all.
#pragma once

#include "kernels/cuda/loss-inl.h"

namespace retort::RETORT_BACKEND {
namespace {

/// A row's cross-entropy against its hard targets: add() every logit, then finish(), then gradient().
template <class T>
class HardTerm {
 public:
  /// `top`: the row's largest logit.
  __device__ HardTerm(const RowTarget& target, float top) : target_(target), top_(top) {}

  __device__ __forceinline__ void add(int i, float logit) {
    sum_ += exponential<T>(logit - top_);
    const float t = target_(i);
    if (t != 0) dot_ += t * (logit - top_);
  }
  /// The loss. All threads of the group call it.
  template <class Group>
  __device__ float finish(const Group& group) {
    const float sum = group.sum(sum_), dot = group.sum(dot_);
    share_ = dev::reciprocal(sum);
    return target_.valid ? logf(sum) - dot : NAN;  // the targets of a row add up to 1
  }
  __device__ __forceinline__ float gradient(int i, float logit) const {
    return exponential<T>(logit - top_) * share_ - target_(i);
  }

 private:
  RowTarget target_;
  float top_, sum_ = 0, dot_ = 0, share_ = 0;
};

/// A row of logits as a soft term sees it: standardised, x -> (x - mean) / (std + 1e-7), or unchanged.
class Seen {
 public:
  /// `pivot`: a logit of the row. Taken off first, so that a large mean costs no digits and equal logits have deviation
  /// 0. All threads of the group call it.
  template <class Row, class Group>
  __device__ Seen(const Row& row, const Group& group, int classes, float pivot, bool standardize) {
    if (!standardize) return;
    pivot_ = pivot;
    float sum = 0, squares = 0;
    row.each([&](int, float x) { sum += x - pivot; });
    offset_ = group.sum(sum) * dev::reciprocal(static_cast<float>(classes));
    row.each([&](int, float x) { squares += centred(x) * centred(x); });
    // A row of one class has no deviation: 0 / 0.
    const float freedom = classes > 1 ? dev::reciprocal(static_cast<float>(classes - 1)) : NAN;
    const float deviation = dev::square_root(group.sum(squares) * freedom);
    scale_ = dev::reciprocal(deviation + static_cast<float>(kStandardFloor));
    along_ = deviation > 0 ? scale_ * scale_ * freedom * dev::reciprocal(deviation) : 0;
  }

  __device__ float operator()(float x) const { return centred(x) * scale_; }
  /// Less the mean.
  __device__ float centred(float x) const { return x - pivot_ - offset_; }
  /// The difference of two seen logits per difference of the logits themselves.
  __device__ float scale() const { return scale_; }

  /// d(loss)/dx of a logit from g = d(loss)/d(its seen value). `along`: the sum over the row of g * centred(x); the sum
  /// of g alone, which the formula of kernels/loss.h has too, is 0 for every loss here.
  __device__ float backward(float g, float x, float along) const { return g * scale_ - centred(x) * (along * along_); }

 private:
  float pivot_ = 0, offset_ = 0, scale_ = 1;
  float along_ = 0;  ///< 1 / (k^2 (C - 1) std)
};

}  // namespace
}  // namespace retort::RETORT_BACKEND
