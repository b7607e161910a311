// The oracle's activations (contract: kernels/activation.h).
#include "kernels/activation.h"

#include <cmath>
#include <numbers>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

constexpr double kRoot = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kCube = 0.044715;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }
double phi_sum(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double phi(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

double value(const Activation& f, double x) {
  switch (f.kind) {
    case ActivationKind::affine: return f.alpha * x + f.beta;
    case ActivationKind::clip: return clip(x, f.alpha, f.beta);
    case ActivationKind::sigmoid: return sigmoid(x);
    case ActivationKind::silu: return x * sigmoid(x);
    case ActivationKind::hard_sigmoid: return clip(f.alpha * x + f.beta, 0, 1);
    case ActivationKind::hard_swish: return x * clip(x / 6 + 0.5, 0, 1);
    case ActivationKind::leaky_relu: return x > 0 ? x : f.alpha * x;
    case ActivationKind::gelu: return x * phi_sum(x);
    case ActivationKind::gelu_tanh: return x * (1 + std::tanh(kRoot * (x + kCube * x * x * x))) / 2;
    case ActivationKind::erf: return std::erf(x);
    case ActivationKind::tanh: return std::tanh(x);
  }
  return x;
}

double slope(const Activation& f, double x) {
  switch (f.kind) {
    case ActivationKind::affine: return f.alpha;
    case ActivationKind::clip: return x > f.alpha && x < f.beta ? 1 : 0;
    case ActivationKind::sigmoid: return sigmoid(x) * (1 - sigmoid(x));
    case ActivationKind::silu: return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
    case ActivationKind::hard_sigmoid: {
      const double y = f.alpha * x + f.beta;
      return y > 0 && y < 1 ? f.alpha : 0;
    }
    case ActivationKind::hard_swish: return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
    case ActivationKind::leaky_relu: return x > 0 ? 1 : f.alpha;
    case ActivationKind::gelu: return phi_sum(x) + x * phi(x);
    case ActivationKind::gelu_tanh: {
      const double t = std::tanh(kRoot * (x + kCube * x * x * x));
      return (1 + t) / 2 + x * (1 - t * t) * kRoot * (1 + 3 * kCube * x * x) / 2;
    }
    case ActivationKind::erf: return 2 / std::sqrt(std::numbers::pi) * std::exp(-x * x);
    case ActivationKind::tanh: return 1 - std::tanh(x) * std::tanh(x);
  }
  return 1;
}

template <class T>
void forward(Stream, const Activation& f, std::int64_t n, const T* x, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(value(f, x[i]));
}

template <class T>
void backward(Stream, const Activation& f, std::int64_t n, const T* x, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(dy[i] * slope(f, x[i]));
}

}  // namespace

template <class T>
ActivationKernels activation() {
  return {.forward = entry<forward<T>>, .backward = entry<backward<T>>};
}
template ActivationKernels activation<float>();
template ActivationKernels activation<double>();

}  // namespace retort::reference
