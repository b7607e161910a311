// Transposes small blocks of 32-bit elements: how columns of B are packed. Included once per target, after
// <hwy/highway.h>.
#include <cstdint>

#if defined(RETORT_KERNELS_CPU_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_TRANSPOSE_INL_H_
#undef RETORT_KERNELS_CPU_TRANSPOSE_INL_H_
#else
#define RETORT_KERNELS_CPU_TRANSPOSE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// target[l * width + j] = source[j * stride + l] for l < a vector's lanes, j < kTransposeCols.
#if HWY_TARGET == HWY_SCALAR
constexpr std::int64_t kTransposeCols = 1;
template <class D>
HWY_INLINE void transpose_block(D, const hn::TFromD<D>* source, std::int64_t, std::int64_t, hn::TFromD<D>* target) {
  hwy::CopyBytes<sizeof(*source)>(source, target);
}
#else
constexpr std::int64_t kTransposeCols = 4;
/// Two rounds of interleaving transpose 4 x 4 within each 128-bit block: block b of row i then holds depth 4 * b + i.
template <class D>
HWY_INLINE void transpose_block(D d, const hn::TFromD<D>* source, std::int64_t stride, std::int64_t width,
                                hn::TFromD<D>* target) {
  using T = hn::TFromD<D>;
  constexpr std::int64_t kLanes = hn::MaxLanes(d);
  const hn::Repartition<double, D> d64;
  const hn::Full128<T> quad;
  const auto r0 = hn::LoadU(d, source), r1 = hn::LoadU(d, source + stride);
  const auto r2 = hn::LoadU(d, source + 2 * stride), r3 = hn::LoadU(d, source + 3 * stride);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  const hn::Vec<D> rows[4] = {hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)),
                              hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)),
                              hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)),
                              hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23))};
  for (int i = 0; i < 4; ++i) {
    HWY_ALIGN T blocks[kLanes];
    hn::Store(rows[i], d, blocks);
    for (std::int64_t b = 0; b < kLanes / 4; ++b)
      hn::StoreU(hn::Load(quad, blocks + 4 * b), quad, target + (4 * b + i) * width);
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
