// Vectorised exp in double for softmax and the losses, and rows of floats or bf16 widened to double. Included once per
// target, after "kernels/cpu/vector_loop-inl.h".
#include <hwy/contrib/math/math-inl.h>

#include <limits>

#if defined(RETORT_KERNELS_CPU_EXPONENTIAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_EXPONENTIAL_INL_H_
#undef RETORT_KERNELS_CPU_EXPONENTIAL_INL_H_
#else
#define RETORT_KERNELS_CPU_EXPONENTIAL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using F64 = hn::ScalableTag<double>;
using V64 = hn::Vec<F64>;
using HalfF32 = hn::Rebind<float, F64>;

/// exp(x) for x <= 0 within 2 ulp; NaN stays NaN, which Highway's own would turn into 0.
HWY_INLINE V64 exponential(V64 x) { return hn::IfThenElse(hn::Eq(x, x), hn::Exp(F64(), x), x); }

/// Floats or bf16 widened; lanes past the row's end hold 0.
template <class Span, class T>
HWY_INLINE V64 load_wide(Span span, const T* from) {
  return hn::PromoteTo(F64(), span.load(HalfF32(), from));
}

template <class Span, class T>
HWY_INLINE void store_narrow(Span span, V64 value, T* to) {
  span.store(HalfF32(), hn::DemoteTo(HalfF32(), value), to);
}

/// Replaces lanes past the row's end, so that sums and maxima over all lanes do not see them.
HWY_INLINE V64 or_beyond(Whole, V64 value, double) { return value; }
HWY_INLINE V64 or_beyond(Part part, V64 value, double beyond) {
  return hn::IfThenElse(hn::FirstN(F64(), part.count), value, hn::Set(F64(), beyond));
}

/// The largest of n elements. NaNs may be skipped: they show in every sum that follows.
template <class T>
double row_maximum(const T* x, std::int64_t n) {
  auto largest = hn::Set(F64(), -std::numeric_limits<double>::infinity());
  vector_loop(F64(), 0, n, [&](auto span, std::int64_t i) HWY_ATTR {
    const V64 value = or_beyond(span, load_wide(span, x + i), -std::numeric_limits<double>::infinity());
    largest = hn::IfThenElse(hn::Gt(value, largest), value, largest);
  });
  return hn::GetLane(hn::MaxOfLanes(F64(), largest));
}

HWY_INLINE double total(V64 sum) { return hn::GetLane(hn::SumOfLanes(F64(), sum)); }

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
