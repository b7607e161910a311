// Activations beyond ReLU (contract: kernels/activation.h), bound by memory: 16 bytes an access wherever pointers and
// extents allow.
#include "kernels/activation.h"

#include <cmath>

#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;
constexpr float kRoot = 0.7978845608028654f, kCube = 0.044715f;

__device__ inline float sigmoid_of(float x) {
  const float e = expf(x < 0 ? x : -x), positive = 1 / (1 + e);
  return x < 0 ? e * positive : positive;
}
__device__ inline float clamp_to(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
__device__ inline float phi_sum(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
__device__ inline float phi(float x) { return 0.39894228f * expf(-0.5f * x * x); }

/// One kind of activation: value and slope.
template <ActivationKind kind>
struct Function {
  float alpha, beta;

  __device__ float value(float x) const {
    if constexpr (kind == ActivationKind::affine) return alpha * x + beta;
    if constexpr (kind == ActivationKind::clip) return clamp_to(x, alpha, beta);
    if constexpr (kind == ActivationKind::sigmoid) return sigmoid_of(x);
    if constexpr (kind == ActivationKind::silu) return x * sigmoid_of(x);
    if constexpr (kind == ActivationKind::hard_sigmoid) return clamp_to(alpha * x + beta, 0, 1);
    if constexpr (kind == ActivationKind::hard_swish) return x * clamp_to(x / 6 + 0.5f, 0, 1);
    if constexpr (kind == ActivationKind::leaky_relu) return x > 0 ? x : alpha * x;
    if constexpr (kind == ActivationKind::gelu) return x * phi_sum(x);
    if constexpr (kind == ActivationKind::gelu_tanh) return 0.5f * x * (1 + tanhf(kRoot * (x + kCube * x * x * x)));
    if constexpr (kind == ActivationKind::erf) return erff(x);
    if constexpr (kind == ActivationKind::tanh) return tanhf(x);
  }
  __device__ float slope(float x) const {
    if constexpr (kind == ActivationKind::affine) return alpha;
    if constexpr (kind == ActivationKind::clip) return x > alpha && x < beta ? 1 : 0;
    if constexpr (kind == ActivationKind::sigmoid) return sigmoid_of(x) * sigmoid_of(-x);
    if constexpr (kind == ActivationKind::silu) return sigmoid_of(x) * (1 + x * sigmoid_of(-x));
    if constexpr (kind == ActivationKind::hard_sigmoid) {
      const float y = alpha * x + beta;
      return y > 0 && y < 1 ? alpha : 0;
    }
    if constexpr (kind == ActivationKind::hard_swish) return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5f;
    if constexpr (kind == ActivationKind::leaky_relu) return x > 0 ? 1 : alpha;
    if constexpr (kind == ActivationKind::gelu) return phi_sum(x) + x * phi(x);
    if constexpr (kind == ActivationKind::gelu_tanh) {
      const float t = tanhf(kRoot * (x + kCube * x * x * x));
      return 0.5f * (1 + t + x * (1 - t * t) * kRoot * (1 + 3 * kCube * x * x));
    }
    if constexpr (kind == ActivationKind::erf) return 1.1283791670955126f * expf(-x * x);
    if constexpr (kind == ActivationKind::tanh) return (1 - tanhf(x)) * (1 + tanhf(x));
  }
};

template <class T, class F>
__global__ void forward_kernel(std::int64_t n, std::int64_t packs, F f, const T* x, T* y) {
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < packs; i += stride) {
    auto values = dev::load<Pack<T, kPack<T>>>(x + i * kPack<T>);
    for (int j = 0; j < kPack<T>; ++j) values.v[j] = T(f.value(float(values.v[j])));
    dev::store(y + i * kPack<T>, values);
  }
  for (std::int64_t i = packs * kPack<T> + first; i < n; i += stride) y[i] = T(f.value(float(x[i])));
}

template <class T, class F>
__global__ void backward_kernel(std::int64_t n, std::int64_t packs, F f, const T* x, const T* dy, T* dx) {
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < packs; i += stride) {
    const auto inputs = dev::load<Pack<T, kPack<T>>>(x + i * kPack<T>);
    auto values = dev::load<Pack<T, kPack<T>>>(dy + i * kPack<T>);
    for (int j = 0; j < kPack<T>; ++j) values.v[j] = T(float(values.v[j]) * f.slope(float(inputs.v[j])));
    dev::store(dx + i * kPack<T>, values);
  }
  for (std::int64_t i = packs * kPack<T> + first; i < n; i += stride) dx[i] = T(float(dy[i]) * f.slope(float(x[i])));
}

/// Calls run with the Function of an activation.
template <class Run>
void with_function(const Activation& f, const Run& run) {
  const float alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  switch (f.kind) {
    case ActivationKind::affine: return run(Function<ActivationKind::affine>{alpha, beta});
    case ActivationKind::clip: return run(Function<ActivationKind::clip>{alpha, beta});
    case ActivationKind::sigmoid: return run(Function<ActivationKind::sigmoid>{alpha, beta});
    case ActivationKind::silu: return run(Function<ActivationKind::silu>{alpha, beta});
    case ActivationKind::hard_sigmoid: return run(Function<ActivationKind::hard_sigmoid>{alpha, beta});
    case ActivationKind::hard_swish: return run(Function<ActivationKind::hard_swish>{alpha, beta});
    case ActivationKind::leaky_relu: return run(Function<ActivationKind::leaky_relu>{alpha, beta});
    case ActivationKind::gelu: return run(Function<ActivationKind::gelu>{alpha, beta});
    case ActivationKind::gelu_tanh: return run(Function<ActivationKind::gelu_tanh>{alpha, beta});
    case ActivationKind::erf: return run(Function<ActivationKind::erf>{alpha, beta});
    case ActivationKind::tanh: return run(Function<ActivationKind::tanh>{alpha, beta});
  }
}

template <class T>
void forward(Stream stream, const Activation& activation, std::int64_t n, const T* x, T* y) {
  if (n == 0) return;
  const std::int64_t packs = aligned16(x) && aligned16(y) ? n / kPack<T> : 0;
  with_function(activation, [&](auto f) {
    dev::launch("activation_forward", forward_kernel<T, decltype(f)>,
                {{blocks_for(n, kThreads * kPack<T>)}, {kThreads}}, stream, n, packs, f, x, y);
  });
}

template <class T>
void backward(Stream stream, const Activation& activation, std::int64_t n, const T* x, const T* dy, T* dx) {
  if (n == 0) return;
  const std::int64_t packs = aligned16(x) && aligned16(dy) && aligned16(dx) ? n / kPack<T> : 0;
  with_function(activation, [&](auto f) {
    dev::launch("activation_backward", backward_kernel<T, decltype(f)>,
                {{blocks_for(n, kThreads * kPack<T>)}, {kThreads}}, stream, n, packs, f, x, dy, dx);
  });
}

}  // namespace

template <class T>
ActivationKernels activation() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}
template ActivationKernels activation<float>();
template ActivationKernels activation<BFloat16>();

}  // namespace retort::RETORT_BACKEND
