// Antialiased resizing's two passes with vectors (contract: kernels/resize.h). Compiled without the fusing of products
// and sums, so that every instruction set gives the same bits.
#include "kernels/resize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/resize.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace retort {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void weigh_rows(std::int64_t n, const std::uint8_t* rows, std::int64_t stride, std::int64_t taps, const float* weights,
                float* out) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<std::int32_t, decltype(d)> integers;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto sum_at = [&](std::int64_t i) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (std::int64_t k = 0; k < taps; ++k) {
      const auto samples = hn::ConvertTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, rows + k * stride + i)));
      sum = hn::Add(sum, hn::Mul(hn::Set(d, weights[k]), samples));
    }
    hn::StoreU(sum, d, out + i);
  };
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) sum_at(i);
  if (i < n && n >= lanes) {
    sum_at(n - lanes);  // some sums twice, to the same bits
    return;
  }
  for (; i < n; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < taps; ++k) sum += weights[k] * static_cast<float>(rows[k * stride + i]);
    out[i] = sum;
  }
}

/// Four lanes hold a pixel and the next one's first sample, where there are four. kTaps: filter.taps, or 0 for any.
template <std::int64_t kTaps>
HWY_INLINE void filter_pixels(const RowFilter& filter, const float* row, float* out) {
  const hn::CappedTag<float, 4> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t taps = kTaps > 0 ? kTaps : filter.taps, last = filter.outputs - 1;
  for (std::int64_t i = 0; i < last; ++i)
    for (std::int64_t c = 0; c < 3; c += lanes) {
      const float* weights = filter.weights + i * taps;
      const float* from = row + 3 * filter.first[i] + c;
      auto sum = hn::Zero(d);
      for (std::int64_t k = 0; k < taps; ++k)
        sum = hn::Add(sum, hn::Mul(hn::Set(d, weights[k]), hn::LoadU(d, from + 3 * k)));
      hn::StoreU(sum, d, out + 3 * i + c);  // the lane beyond is overwritten by the next pixel
    }
  for (std::int64_t c = 0; c < 3; ++c) {
    float sum = 0;
    for (std::int64_t k = 0; k < taps; ++k)
      sum += filter.weights[last * taps + k] * row[3 * (filter.first[last] + k) + c];
    out[3 * last + c] = sum;
  }
}

/// The loops over few taps are unrolled: enlarging takes 2, halving 4.
void filter_row_rgb(const RowFilter& filter, const float* row, float* out) {
  switch (filter.taps) {
    case 2: return filter_pixels<2>(filter, row, out);
    case 3: return filter_pixels<3>(filter, row, out);
    case 4: return filter_pixels<4>(filter, row, out);
    case 5: return filter_pixels<5>(filter, row, out);
    default: return filter_pixels<0>(filter, row, out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort {

void weigh_rows(std::int64_t n, const std::uint8_t* rows, std::int64_t stride, std::int64_t taps, const float* weights,
                float* out) {
  RETORT_SIMD_SELECT(weigh_rows)(n, rows, stride, taps, weights, out);
}

void filter_row_rgb(const RowFilter& filter, const float* row, float* out) {
  RETORT_SIMD_SELECT(filter_row_rgb)(filter, row, out);
}

void filter_row_grey(const RowFilter& filter, const float* row, float* out) {
  for (std::int64_t i = 0; i < filter.outputs; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < filter.taps; ++k)
      sum += filter.weights[i * filter.taps + k] * row[filter.first[i] + k];
    out[i] = sum;
  }
}

}  // namespace retort
#endif
