// bf16 in memory, float in registers: widening is exact, narrowing rounds as kernels/bfloat16.h does. Included once per
// target, after <hwy/highway.h>.
#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.h"

#if defined(RETORT_KERNELS_CPU_BFLOAT16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_BFLOAT16_INL_H_
#undef RETORT_KERNELS_CPU_BFLOAT16_INL_H_
#else
#define RETORT_KERNELS_CPU_BFLOAT16_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The tag of a vector that holds the bits of bf16, with as many lanes as D, a tag of 32-bit lanes.
template <class D>
using HalfTag = hn::Rebind<std::uint16_t, D>;
template <class D>
using HalfBits = hn::Vec<HalfTag<D>>;

inline const std::uint16_t* bits_at(const BFloat16* from) { return reinterpret_cast<const std::uint16_t*>(from); }
inline std::uint16_t* bits_at(BFloat16* to) { return reinterpret_cast<std::uint16_t*>(to); }

/// The first `count` elements, zeros in the lanes beyond. A masked load would read past the end below AVX-512, which
/// has none for 16-bit lanes.
template <class D>
HWY_INLINE hn::Vec<D> load_some(D d, const BFloat16* from, std::size_t count) {
  HWY_ALIGN std::uint16_t buffer[hn::MaxLanes(d)] = {};
  std::memcpy(buffer, from, count * sizeof(BFloat16));
  return hn::Load(d, buffer);
}

template <class D>
HWY_INLINE void store_some(D d, hn::Vec<D> bits, BFloat16* to, std::size_t count) {
  HWY_ALIGN std::uint16_t buffer[hn::MaxLanes(d)];
  hn::Store(bits, d, buffer);
  std::memcpy(to, buffer, count * sizeof(BFloat16));
}

/// D: of floats.
template <class D>
HWY_INLINE hn::Vec<D> widen(D d, HalfBits<D> bits) {
  const hn::RebindToUnsigned<D> words;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words, bits)));
}

/// To nearest, ties to even; NaN stays NaN (quiet).
template <class D>
HWY_INLINE HalfBits<D> narrow(D, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> words;
  const auto bits = hn::BitCast(words, value);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto even = hn::Add(hn::And(upper, hn::Set(words, 1)), hn::Set(words, 0x7FFF));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, even));
  const auto number = hn::RebindMask(words, hn::Eq(value, value));
  return hn::TruncateTo(HalfTag<D>(), hn::IfThenElse(number, rounded, hn::Or(upper, hn::Set(words, 0x40))));
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
