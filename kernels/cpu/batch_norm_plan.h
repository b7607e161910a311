// How batch normalisation cuts its rows and its workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/batch_norm.h"
#include "kernels/cpu/range.h"

namespace retort::cpu {

inline constexpr std::int64_t kChannelGrain = 256;  ///< channels per task at least, in passes over channels alone

/// The workspace and how rows are cut. A channel has two sums per range of rows (double), and three coefficients
/// (float) for the second sweep. Arrays are padded so that a kernel may store whole vectors.
class BatchNormPlan {
 public:
  BatchNormPlan(const BatchNormGeometry& g, void* workspace)
      : rows_(g.rows),
        stride_(divide_up(g.channels, kPad) * kPad),
        ranges_(std::clamp<std::int64_t>(divide_up(g.rows, kBlockRows), 1, kMaxRanges)),
        sums_(static_cast<double*>(workspace)) {}

  static constexpr std::int64_t kBlockRows = 64;  // summed in float; a block of a few vectors of channels stays in L1
  static constexpr std::int64_t kPad = 64;

  std::size_t bytes() const {
    return static_cast<std::size_t>(stride_) *
           (2 * static_cast<std::size_t>(ranges_) * sizeof(double) + 3 * sizeof(float));
  }
  std::int64_t ranges() const { return ranges_; }
  Range rows(std::int64_t range) const { return share_of(rows_, ranges_, range); }
  double* first(std::int64_t range) const { return sums_ + 2 * range * stride_; }
  double* second(std::int64_t range) const { return first(range) + stride_; }
  float* coefficients(int which) const { return reinterpret_cast<float*>(first(ranges_)) + which * stride_; }

 private:
  static constexpr std::int64_t kMaxRanges = 32;
  std::int64_t rows_, stride_, ranges_;
  double* sums_;
};

}  // namespace retort::cpu
