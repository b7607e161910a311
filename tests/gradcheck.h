// Gradients against finite differences: the tape's backward in double, on the reference kernels, against the central
// difference of every element of every input.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/core/random.h"
#include "engine/core/tape.h"
#include "engine/core/tensor.h"
#include "tests/tolerance.h"

namespace retort::test {

/// A differentiable function of tensors, to be called any number of times with the same outcome.
using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// f64 values uniform in [low, high).
inline Tensor random_tensor(const Shape& shape, std::uint64_t seed, double low = -1, double high = 1) {
  Tensor tensor = Tensor::empty(shape, DType::f64);
  fill_uniform(tensor, low, high, Random(seed));
  return tensor;
}

/// f64 integers in [-3, 3]: sums of products of them plus a half are never nearer to ReLU's kink than a half.
inline Tensor integer_tensor(const Shape& shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape, DType::f64);
  Random random(seed);
  for (double& x : tensor.span<double>()) x = static_cast<double>(random.below(7)) - 3;
  return tensor;
}

/// f64 values in random order and at least 0.1 apart: no step of a check changes which of them is the largest, or (half
/// a gap off zero) a sign.
inline Tensor spaced_tensor(const Shape& shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape, DType::f64);
  const auto order = permutation(shape.count(), Random(seed));
  for (std::size_t i = 0; i < order.size(); ++i)
    tensor.data<double>()[i] = 0.1 * static_cast<double>(order[i] - shape.count() / 2) + 0.05;
  return tensor;
}

inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) sum += a.data<double>()[i] * b.data<double>()[i];
  return sum;
}

/// worst = the larger of the two; a NaN counts as infinite.
inline void take_worse(double& worst, double error) {
  if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

/// The largest distance of two tensors; infinite if any is NaN, or if they are not of one count.
inline double max_difference(const Tensor& a, const Tensor& b) {
  if (a.count() != b.count()) return std::numeric_limits<double>::infinity();
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double worst = 0;
  for (std::int64_t i = 0; i < x.count(); ++i) {
    take_worse(worst, std::abs(x.data<double>()[i] - y.data<double>()[i]));
  }
  return worst;
}

inline double max_magnitude(const Tensor& x) { return max_difference(x, Tensor::zeros(x.shape(), x.dtype())); }

struct GradientCheck {
  double step = 1e-5;
  double third_derivative = 30;  ///< bound on it, along any one element
  double roundings = 64;         ///< that one element of the output goes through
};

/// The worst distance between the gradient of sum(u * function(inputs)), u random, and its central difference, as a
/// multiple of what is allowed: step^2 / 6 * third derivative (truncation) + roundings * epsilon / step * sum |u y|.
/// Fine if <= 1. Infinite where a gradient is missing or backward changed the u it was given. inputs are f64 and are
/// not changed.
inline double gradient_error(const Function& function, const std::vector<Tensor>& inputs,
                             const GradientCheck& check = {}) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.clone().require_grad());
  Tensor u;
  double magnitude = 0;
  {
    Tape tape;
    const Tensor y = function(leaves);
    u = random_tensor(y.shape(), 99, 0.5, 1.5);
    for (std::int64_t i = 1; i < u.count(); i += 2) u.data<double>()[i] *= -1;
    for (std::int64_t i = 0; i < y.count(); ++i) magnitude += std::abs(u.data<double>()[i] * y.data<double>()[i]);
    const Tensor seed = u.clone();
    tape.backward(y, seed);
    // A step may work in place only in a gradient that no one else holds.
    if (max_difference(seed, u) != 0) return std::numeric_limits<double>::infinity();
  }
  const double allowed =
      check.step * check.step / 6 * check.third_derivative + check.roundings * epsilon64 / check.step * (1 + magnitude);
  double worst = 0;
  for (Tensor& leaf : leaves) {
    const Tensor gradient = leaf.grad();
    if (!gradient || gradient.shape() != leaf.shape()) return std::numeric_limits<double>::infinity();
    for (std::int64_t i = 0; i < leaf.count(); ++i) {
      double& x = leaf.data<double>()[i];
      const double x0 = x;
      x = x0 + check.step;
      const double above = dot(u, function(leaves));
      x = x0 - check.step;
      const double below = dot(u, function(leaves));
      x = x0;
      take_worse(worst, std::abs((above - below) / (2 * check.step) - gradient.data<double>()[i]));
    }
  }
  return worst / allowed;
}

/// The worst distance of outputs and gradients between f32 (the fast kernels) and f64 (the reference), as a multiple of
/// roundings * epsilon / 2 * the largest value of that tensor. Fine if <= 1. inputs are f64.
inline double f32_error(const Function& function, const std::vector<Tensor>& inputs, double roundings) {
  std::vector<Tensor> results[2];
  for (const DType dtype : {DType::f64, DType::f32}) {
    std::vector<Tensor> leaves;
    // Both start from the same values, those that f32 can hold.
    for (const Tensor& input : inputs) leaves.push_back(input.to(DType::f32).to(dtype).require_grad());
    Tape tape;
    const Tensor y = function(leaves);
    tape.backward(y, random_tensor(y.shape(), 98).to(DType::f32).to(dtype));
    std::vector<Tensor>& result = results[dtype == DType::f32];
    result.push_back(y.detached());
    for (const Tensor& leaf : leaves) result.push_back(leaf.grad());
  }
  double worst = 0;
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const double scale = std::max(1.0, max_magnitude(results[0][i]));
    take_worse(worst, max_difference(results[0][i], results[1][i]) / (roundings * epsilon32 / 2 * scale));
  }
  return worst;
}

}  // namespace retort::test
