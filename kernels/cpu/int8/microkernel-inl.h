// The register tile of 8-bit products: s32 [MR, 2 vectors] = offset + A rows * B sliver, all in registers and exact.
//
// A 32-bit lane of B holds some neighbouring depths of a column, and as many neighbours of a row of A are one 32-bit
// broadcast:
//   Int8Dot   four depths as u8 x s8, by AVX-512 VNNI's vpdpbusd, which adds four products to the lane without
//             saturation.
//   PairDot   two depths as s16 x s16, by vpmaddwd and an addition. vpmaddubsw would take four, but its 16-bit sums of
//             two products saturate: 2 * 255 * 127 > 32767.
// Included once per target, after <hwy/highway.h>.
#if defined(RETORT_INT8_MICROKERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_INT8_MICROKERNEL_INL_H_
#undef RETORT_INT8_MICROKERNEL_INL_H_
#else
#define RETORT_INT8_MICROKERNEL_INL_H_
#endif

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using I32 = hn::ScalableTag<std::int32_t>;
using Sums = hn::Vec<I32>;
inline constexpr std::int64_t kInt8Lanes = hn::MaxLanes(I32());
/// Columns of a sliver of B.
inline constexpr std::int64_t kInt8Columns = 2 * kInt8Lanes;
/// Rows of a tile: two sums a row, and what else needs a register.
inline constexpr int kInt8Rows = HWY_TARGET == HWY_AVX2 ? 6 : HWY_TARGET == HWY_SCALAR ? 2 : 12;

struct PairDot {
  using Element = std::int16_t;
  static constexpr std::int64_t kDepth = 2;
  HWY_INLINE static Sums add(Sums a, Sums b, Sums sum) {
#if HWY_TARGET == HWY_SCALAR
    const auto low = [](Sums x) { return static_cast<std::int32_t>(static_cast<std::int16_t>(x.raw & 0xFFFF)); };
    const auto high = [](Sums x) { return x.raw >> 16; };
    return hn::Add(sum, hn::Set(I32(), low(a) * low(b) + high(a) * high(b)));
#else
    const hn::Repartition<std::int16_t, I32> d;
    const auto left = hn::BitCast(d, a), right = hn::BitCast(d, b);
#if HWY_TARGET == HWY_NEON
    const auto low = vmull_s16(vget_low_s16(left.raw), vget_low_s16(right.raw));
    return hn::Add(sum, Sums(vpaddq_s32(low, vmull_high_s16(left.raw, right.raw))));
#else
    Sums unused = hn::Zero(I32());
    return hn::ReorderWidenMulAccumulate(I32(), left, right, sum, unused);
#endif
#endif
  }
};

#if HWY_TARGET == HWY_AVX3
struct Int8Dot {
  using Element = std::uint8_t;
  static constexpr std::int64_t kDepth = 4;
  /// In assembly: the intrinsic would need a target that Highway's functions are not compiled for.
  HWY_INLINE static Sums add(Sums a, Sums b, Sums sum) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
};
#endif

/// out[i, j] = offset[j] + sum over l of a[i * pitch + l] * b[l, j], `steps` times kDepth depths.
template <class Dot, int MR>
HWY_NOINLINE void int8_tile(const typename Dot::Element* HWY_RESTRICT a, std::int64_t pitch,
                            const std::int32_t* HWY_RESTRICT b, std::int64_t steps, const std::int32_t* offset,
                            std::int32_t* HWY_RESTRICT out) {
  const I32 d;
  Sums sum[MR][2];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    sum[i][0] = hn::LoadU(d, offset);
    sum[i][1] = hn::LoadU(d, offset + kInt8Lanes);
  }
  for (std::int64_t l = 0; l < steps; ++l) {
    const Sums left = hn::LoadU(d, b), right = hn::LoadU(d, b + kInt8Lanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      std::int32_t depths;
      std::memcpy(&depths, a + i * pitch, sizeof depths);
      const Sums row = hn::Set(d, depths);
      sum[i][0] = Dot::add(row, left, sum[i][0]);
      sum[i][1] = Dot::add(row, right, sum[i][1]);
    }
    a += Dot::kDepth;
    b += kInt8Columns;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    hn::StoreU(sum[i][0], d, out + i * kInt8Columns);
    hn::StoreU(sum[i][1], d, out + i * kInt8Columns + kInt8Lanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_INT8_MICROKERNEL_INL_H_
