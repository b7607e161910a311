// Packing a matrix of floats, or of bf16 that is widened, into the rows of one sliver, from stored rows or stored
// columns. Included once per target.
#if defined(RETORT_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_PACK_INL_H_
#undef RETORT_PACK_INL_H_
#else
#define RETORT_PACK_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/bfloat16.h"
#include "kernels/cpu/gemm/microkernel-inl.h"
#include "kernels/cpu/simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Copies `depth` stored rows of `cols` columns to target [depth, width], zeros in the columns beyond cols.
inline void pack_rows(const float* source, std::int64_t stride, std::int64_t depth, std::int64_t cols,
                      std::int64_t width, float* HWY_RESTRICT target) {
  const F32 d;
  for (std::int64_t l = 0; l < depth; ++l, source += stride, target += width)
    for (std::int64_t v = 0; v * kLanes < width; ++v)
      hn::Store(load_columns(d, source, v, cols), d, target + v * kLanes);
}

/// The same from `cols` stored columns of `depth` elements each.
inline void pack_columns(const float* source, std::int64_t stride, std::int64_t depth, std::int64_t cols,
                         std::int64_t width, float* HWY_RESTRICT target) {
  const std::int64_t whole_depth = depth / kLanes * kLanes, whole_cols = cols / kTransposeCols * kTransposeCols;
  for (std::int64_t l = 0; l < whole_depth; l += kLanes)
    for (std::int64_t j = 0; j < whole_cols; j += kTransposeCols)
      transpose_block(F32(), source + j * stride + l, stride, width, target + l * width + j);
  for (std::int64_t l = 0; l < depth; ++l)
    for (std::int64_t j = l < whole_depth ? whole_cols : 0; j < width; ++j)
      target[l * width + j] = j < cols ? source[j * stride + l] : 0.0f;
}

/// The same two from bf16, widened.
inline void pack_rows(const BFloat16* source, std::int64_t stride, std::int64_t depth, std::int64_t cols,
                      std::int64_t width, float* HWY_RESTRICT target) {
  for (std::int64_t l = 0; l < depth; ++l, source += stride, target += width) {
    for (std::int64_t j = 0; j < cols; ++j) target[j] = float(source[j]);
    std::fill_n(target + cols, width - cols, 0.0f);
  }
}
inline void pack_columns(const BFloat16* source, std::int64_t stride, std::int64_t depth, std::int64_t cols,
                         std::int64_t width, float* HWY_RESTRICT target) {
  constexpr std::int64_t kDepths = 16;
  HWY_ALIGN float widened[kSliver * kDepths];
  for (std::int64_t l = 0; l < depth; l += kDepths) {
    const std::int64_t depths = std::min(kDepths, depth - l);
    pack_rows(source + l, stride, cols, depths, kDepths, widened);
    pack_columns(widened, kDepths, depths, cols, width, target + l * width);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_PACK_INL_H_
