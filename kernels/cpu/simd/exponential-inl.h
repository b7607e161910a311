// Vectorised exp for softmax (in double) and the losses (in float), sums, and rows of floats or bf16. Included once per
// target, after "kernels/cpu/simd/vector_loop-inl.h".
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
using F32 = hn::ScalableTag<float>;
using V32 = hn::Vec<F32>;

/// exp(x) for x <= 0 within 2 ulp; NaN stays NaN, which Highway's own would turn into 0.
HWY_INLINE V64 exponential(V64 x) { return hn::IfThenElse(hn::Eq(x, x), hn::Exp(F64(), x), x); }

/// Floats or bf16 widened; lanes past the row's end hold 0.
template <class Lanes, class T>
HWY_INLINE V64 load_wide(Lanes lanes, const T* from) {
  return hn::PromoteTo(F64(), lanes.load(HalfF32(), from));
}

template <class Lanes, class T>
HWY_INLINE void store_narrow(Lanes lanes, V64 value, T* to) {
  lanes.store(HalfF32(), hn::DemoteTo(HalfF32(), value), to);
}

/// exp(x / temperature) of floats x <= 0, within 2 ulp beside the rounding of x / temperature itself. Results below
/// 2^-126 are 2^-126; NaN stays NaN.
class Exponential {
 public:
  explicit Exponential(double temperature)
      : rate_(static_cast<float>(1.4426950408889634 / temperature)), lowest_(-126 / rate_) {}

  HWY_INLINE V32 operator()(V32 x) const {
    const F32 d;
    const V32 rate = hn::Set(d, rate_), lowest = hn::Set(d, lowest_);
    x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
    // Adding 1.5 * 2^23 rounds a number to an integer n, which then stands in the lowest bits. With 127 added too,
    // these bits are the exponent of 2^n.
    const V32 shift = hn::Set(d, 12582912.0f + 127);
    const V32 shifted = hn::MulAdd(x, rate, shift);
    const V32 power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(hn::RebindToUnsigned<F32>(), shifted)));
    const V32 rest = hn::MulSub(x, rate, hn::Sub(shifted, shift));
    // 2^rest for |rest| <= 1/2: the minimax polynomial of degree 6, whose relative error is at most 1.9e-9.
    V32 sum = hn::Set(d, 1.5345812e-4f);
    for (const float coefficient : {1.3399931e-3f, 9.618489e-3f, 5.5503286e-2f, 0.24022646f, 0.69314718f, 1.0f})
      sum = hn::MulAdd(sum, rest, hn::Set(d, coefficient));
    return hn::Mul(sum, power);
  }

 private:
  float rate_, lowest_;
};

/// Replaces lanes past the row's end, so that sums and maxima over all lanes do not see them.
template <class V>
HWY_INLINE V or_beyond(Whole, V value, double) {
  return value;
}
template <class V>
HWY_INLINE V or_beyond(Tail tail, V value, double beyond) {
  const hn::DFromV<V> d;
  return hn::IfThenElse(hn::FirstN(d, tail.count), value, hn::Set(d, static_cast<hn::TFromV<V>>(beyond)));
}

/// The largest of n elements. NaNs may be skipped: they show in every sum that follows.
template <class T>
float row_maximum(const T* x, std::int64_t n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  auto largest = hn::Set(F32(), kLowest);
  vector_loop(F32(), 0, n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 value = or_beyond(lanes, lanes.load(F32(), x + i), kLowest);
    largest = hn::Max(value, largest);
  });
  return hn::GetLane(hn::MaxOfLanes(F32(), largest));
}

HWY_INLINE double total(V64 sum) { return hn::GetLane(hn::SumOfLanes(F64(), sum)); }
/// Of floats, added in double.
inline double total(V32 sum) {
  HWY_ALIGN float buffer[hn::MaxLanes(F32())];
  hn::Store(sum, F32(), buffer);
  auto wide = hn::Zero(F64());
  vector_loop(F64(), 0, static_cast<std::int64_t>(hn::Lanes(F32())),
              [&](auto lanes, std::int64_t i) HWY_ATTR { wide = hn::Add(wide, load_wide(lanes, buffer + i)); });
  return total(wide);
}

/// A sum over the classes. Each lane adds in float, 63 times for 1000 classes and 16 lanes; then the lanes are added in
/// double.
class Sum {
 public:
  Sum() : sum_(hn::Zero(F32())) {}
  template <class Lanes>
  HWY_INLINE void add(Lanes lanes, V32 value) {
    sum_ = hn::Add(sum_, or_beyond(lanes, value, 0));
  }
  template <class Lanes>
  HWY_INLINE void add_product(Lanes lanes, V32 a, V32 b) {
    sum_ = hn::MulAdd(or_beyond(lanes, a, 0), b, sum_);
  }
  HWY_INLINE double in_double() const { return total(sum_); }

 private:
  V32 sum_;
};

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
