// Activations with vectors and threads (contract: kernels/activation.h). T: float or BFloat16; arithmetic is in float.
// What needs an exponential takes Highway's; erf goes element by element.
#include "kernels/activation.h"

#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
using V32 = hn::Vec<F32>;

constexpr std::int64_t kGrain = 8192;  // elements a thread takes at least
constexpr float kRoot = 0.7978845608028654f, kCube = 0.044715f;

HWY_INLINE V32 set(double value) { return hn::Set(F32(), static_cast<float>(value)); }
/// NaN stays: neither comparison holds.
HWY_INLINE V32 clamp(V32 x, V32 low, V32 high) {
  x = hn::IfThenElse(hn::Lt(x, low), low, x);
  return hn::IfThenElse(hn::Gt(x, high), high, x);
}
/// exp(x) for x <= 0; NaN stays NaN, which Highway's own would lose.
HWY_INLINE V32 exponential(V32 x) { return hn::IfThenElse(hn::Eq(x, x), hn::Exp(F32(), x), x); }
/// By way of exp(-|x|), which cannot overflow: s(-x) = 1 - s(x).
HWY_INLINE V32 sigmoid(V32 x) {
  const V32 one = set(1), e = exponential(hn::Neg(hn::Abs(x))), positive = hn::Div(one, hn::Add(one, e));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(F32())), hn::Mul(e, positive), positive);
}
/// tanh(x) = 2 s(2 x) - 1
HWY_INLINE V32 tanh_of(V32 x) { return hn::MulSub(set(2), sigmoid(hn::Add(x, x)), set(1)); }
HWY_INLINE V32 cubic(V32 x) { return hn::Mul(set(kRoot), hn::MulAdd(hn::Mul(hn::Mul(x, x), x), set(kCube), x)); }

/// f of every element of a vector, in scalar code.
template <class F>
HWY_INLINE V32 each(V32 x, const F& f) {
  HWY_ALIGN float buffer[hn::MaxLanes(F32())];
  hn::Store(x, F32(), buffer);
  for (std::size_t i = 0; i < hn::Lanes(F32()); ++i) buffer[i] = f(buffer[i]);
  return hn::Load(F32(), buffer);
}
inline float phi_sum(float x) { return 0.5f * std::erfc(-x * 0.70710678f); }
inline float phi(float x) { return 0.39894228f * std::exp(-0.5f * x * x); }

/// Calls run(f) with the activation as a function of a vector.
template <class Run>
void with_value(const Activation& f, const Run& run) {
  const float alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  switch (f.kind) {
    case ActivationKind::affine: return run([=](V32 x) HWY_ATTR { return hn::MulAdd(set(alpha), x, set(beta)); });
    case ActivationKind::clip: return run([=](V32 x) HWY_ATTR { return clamp(x, set(alpha), set(beta)); });
    case ActivationKind::sigmoid: return run([](V32 x) HWY_ATTR { return sigmoid(x); });
    case ActivationKind::silu: return run([](V32 x) HWY_ATTR { return hn::Mul(x, sigmoid(x)); });
    case ActivationKind::hard_sigmoid:
      return run([=](V32 x) HWY_ATTR { return clamp(hn::MulAdd(set(alpha), x, set(beta)), set(0), set(1)); });
    case ActivationKind::hard_swish:
      return run([](V32 x)
                     HWY_ATTR { return hn::Mul(x, clamp(hn::MulAdd(set(1.0 / 6), x, set(0.5)), set(0), set(1))); });
    case ActivationKind::leaky_relu:
      return run([=](V32 x) HWY_ATTR { return hn::IfThenElse(hn::Gt(x, set(0)), x, hn::Mul(set(alpha), x)); });
    case ActivationKind::gelu:
      return run([](V32 x) HWY_ATTR { return hn::Mul(x, each(x, [](float value) { return phi_sum(value); })); });
    case ActivationKind::gelu_tanh:
      return run([](V32 x) HWY_ATTR { return hn::Mul(hn::Mul(set(0.5), x), hn::Add(set(1), tanh_of(cubic(x)))); });
    case ActivationKind::erf:
      return run([](V32 x) HWY_ATTR { return each(x, [](float value) { return std::erf(value); }); });
    case ActivationKind::tanh:
      return run([](V32 x) HWY_ATTR { return each(x, [](float value) { return std::tanh(value); }); });
  }
}

/// Calls run(f) with the activation's derivative.
template <class Run>
void with_slope(const Activation& f, const Run& run) {
  const float alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  switch (f.kind) {
    case ActivationKind::affine: return run([=](V32) HWY_ATTR { return set(alpha); });
    case ActivationKind::clip:
      return run([=](V32 x) HWY_ATTR {
        return hn::IfThenElseZero(hn::And(hn::Gt(x, set(alpha)), hn::Lt(x, set(beta))), set(1));
      });
    case ActivationKind::sigmoid: return run([](V32 x) HWY_ATTR { return hn::Mul(sigmoid(x), sigmoid(hn::Neg(x))); });
    case ActivationKind::silu:
      return run([](V32 x) HWY_ATTR { return hn::Mul(sigmoid(x), hn::MulAdd(x, sigmoid(hn::Neg(x)), set(1))); });
    case ActivationKind::hard_sigmoid:
      return run([=](V32 x) HWY_ATTR {
        const V32 y = hn::MulAdd(set(alpha), x, set(beta));
        return hn::IfThenElseZero(hn::And(hn::Gt(y, set(0)), hn::Lt(y, set(1))), set(alpha));
      });
    case ActivationKind::hard_swish:
      return run([](V32 x) HWY_ATTR {
        const V32 inner = hn::MulAdd(set(1.0 / 3), x, set(0.5));
        return hn::IfThenZeroElse(hn::Le(x, set(-3)), hn::IfThenElse(hn::Ge(x, set(3)), set(1), inner));
      });
    case ActivationKind::leaky_relu:
      return run([=](V32 x) HWY_ATTR { return hn::IfThenElse(hn::Gt(x, set(0)), set(1), set(alpha)); });
    case ActivationKind::gelu:
      return run([](V32 x)
                     HWY_ATTR { return each(x, [](float value) { return phi_sum(value) + value * phi(value); }); });
    case ActivationKind::gelu_tanh:
      return run([](V32 x) HWY_ATTR {
        const V32 t = tanh_of(cubic(x)), half = set(0.5);
        const V32 inner = hn::Mul(set(kRoot), hn::MulAdd(set(3 * kCube), hn::Mul(x, x), set(1)));
        const V32 rest = hn::Mul(hn::Mul(x, hn::NegMulAdd(t, t, set(1))), inner);
        return hn::Mul(half, hn::Add(hn::Add(set(1), t), rest));
      });
    case ActivationKind::erf:
      return run([](V32 x) HWY_ATTR { return hn::Mul(set(1.1283791670955126), exponential(hn::Neg(hn::Mul(x, x)))); });
    case ActivationKind::tanh:
      return run([](V32 x) HWY_ATTR {
        return each(x, [](float value) { return (1 - std::tanh(value)) * (1 + std::tanh(value)); });
      });
  }
}

template <class T>
void forward(Stream, const Activation& activation, std::int64_t n, const T* x, T* y) {
  with_value(activation, [&](const auto& f) {
    parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      const F32 d;
      vector_loop(d, begin, end,
                  [&](auto lanes, std::int64_t i) HWY_ATTR { lanes.store(d, f(lanes.load(d, x + i)), y + i); });
    });
  });
}

template <class T>
void backward(Stream, const Activation& activation, std::int64_t n, const T* x, const T* dy, T* dx) {
  with_slope(activation, [&](const auto& f) {
    parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      const F32 d;
      vector_loop(d, begin, end, [&](auto lanes, std::int64_t i) HWY_ATTR {
        lanes.store(d, hn::Mul(lanes.load(d, dy + i), f(lanes.load(d, x + i))), dx + i);
      });
    });
  });
}

}  // namespace

template <class T>
ActivationKernels activation() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}

template ActivationKernels activation<float>();
template ActivationKernels activation<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
