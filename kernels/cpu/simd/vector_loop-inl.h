// The loop that every vectorised kernel runs: whole vectors, then one masked tail, so that no array needs padding.
// Elements are of the vector's own type, or bf16 beside vectors of floats. Included once per target, after
// <hwy/highway.h>.
#include <cstdint>

#if defined(RETORT_KERNELS_CPU_VECTOR_LOOP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_VECTOR_LOOP_INL_H_
#undef RETORT_KERNELS_CPU_VECTOR_LOOP_INL_H_
#else
#define RETORT_KERNELS_CPU_VECTOR_LOOP_INL_H_
#endif

#include "kernels/cpu/simd/bfloat16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// All lanes of a vector lie inside the array.
struct Whole {
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, const hn::TFromD<D>* from) const {
    return hn::LoadU(d, from);
  }
  template <class D>
  HWY_INLINE void store(D d, hn::Vec<D> value, hn::TFromD<D>* to) const {
    hn::StoreU(value, d, to);
  }
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, const BFloat16* from) const {
    return widen(d, hn::LoadU(HalfTag<D>(), bits_at(from)));
  }
  template <class D>
  HWY_INLINE void store(D d, hn::Vec<D> value, BFloat16* to) const {
    hn::StoreU(narrow(d, value), HalfTag<D>(), bits_at(to));
  }
};

/// Only the first `count` lanes do; the others load as 0 and are not stored.
struct Tail {
  std::size_t count;
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, const hn::TFromD<D>* from) const {
    // With one lane Highway's masked load reads it even where the mask is false, so past the end.
    if (HWY_TARGET == HWY_SCALAR && count == 0) return hn::Zero(d);
    return hn::MaskedLoad(hn::FirstN(d, count), d, from);
  }
  template <class D>
  HWY_INLINE void store(D d, hn::Vec<D> value, hn::TFromD<D>* to) const {
    hn::BlendedStore(value, hn::FirstN(d, count), d, to);
  }
  template <class D>
  HWY_INLINE hn::Vec<D> load(D d, const BFloat16* from) const {
    return widen(d, load_some(HalfTag<D>(), from, count));
  }
  template <class D>
  HWY_INLINE void store(D d, hn::Vec<D> value, BFloat16* to) const {
    store_some(HalfTag<D>(), narrow(d, value), to, count);
  }
};

/// Calls body(lanes, i) for i = begin, begin + a vector's lanes, ... below end. `lanes` loads and stores at i: a Whole,
/// or a Tail for the last call where the vector reaches past the end.
template <class D, class Body>
HWY_INLINE void vector_loop(D d, std::int64_t begin, std::int64_t end, const Body& body) {
  const std::int64_t step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = begin;
  for (; i + step <= end; i += step) body(Whole{}, i);
  if (i < end) body(Tail{static_cast<std::size_t>(end - i)}, i);
}

/// to[i] = from[i] for i in [begin, end). Either may be floats or bf16, which are widened or rounded.
template <class From, class To>
void copy_elements(std::int64_t begin, std::int64_t end, const From* from, To* to) {
  const hn::ScalableTag<float> d;
  vector_loop(d, begin, end,
              [=](auto lanes, std::int64_t i) HWY_ATTR { lanes.store(d, lanes.load(d, from + i), to + i); });
}

/// max(0, x). Not Max, which drops a NaN on some targets: a diverged training must stay visible.
template <class D>
HWY_INLINE hn::Vec<D> relu(D d, hn::Vec<D> x) {
  return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
