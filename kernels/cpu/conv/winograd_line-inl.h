// Transforms of a tile of a line, channel by channel. Included once per target.
#if defined(RETORT_WINOGRAD_LINE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_WINOGRAD_LINE_INL_H_
#undef RETORT_WINOGRAD_LINE_INL_H_
#else
#define RETORT_WINOGRAD_LINE_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/cpu/conv/winograd_line_plan.h"
#include "kernels/cpu/gemm/microkernel-inl.h"
#include "kernels/cpu/simd/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// store(i, sum over j of matrix[i][j] * load(j)), or with the matrix transposed.
template <bool kTransposed, std::size_t kRows, std::size_t kCols, class Load, class Store>
HWY_INLINE void apply(const std::array<std::array<float, kCols>, kRows>& matrix, const Load& load, const Store& store) {
  constexpr int kTo = kTransposed ? kCols : kRows, kFrom = kTransposed ? kRows : kCols;
  const F32 d;
  Vector from[kFrom];
#pragma GCC unroll 9
  for (int j = 0; j < kFrom; ++j) from[j] = load(j);
#pragma GCC unroll 9
  for (int i = 0; i < kTo; ++i) {
    Vector sum = hn::Zero(d);
#pragma GCC unroll 9
    for (int j = 0; j < kFrom; ++j)
      sum = hn::MulAdd(hn::Set(d, kTransposed ? matrix[j][i] : matrix[i][j]), from[j], sum);
    store(i, sum);
  }
}

/// Where kCount pixels of a line lie from `first` on; outside the line, `zeros` [channels].
template <class T, int kCount>
struct Pixels {
  Pixels(const T* line, std::int64_t step, std::int64_t length, std::int64_t first, const T* zeros) {
    for (std::int64_t i = 0; i < kCount; ++i)
      at[i] = first + i >= 0 && first + i < length ? line + (first + i) * step : zeros;
  }
  const T* at[kCount];
};

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_WINOGRAD_LINE_INL_H_
