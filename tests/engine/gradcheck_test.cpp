// The gradient checker itself: it must pass a right gradient and catch wrong ones.
#include "tests/gradcheck.h"

#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/softmax.h"

using namespace retort;
using namespace retort::test;

namespace {

/// factor * x whose backward multiplies by `claimed` instead.
Tensor misscale(const Tensor& x, double factor, double claimed) {
  Tensor y;
  {
    const NoGrad pause;
    y = scale(x, factor);
  }
  if (Tape* tape = recording({&x})) {
    y.require_grad();
    tape->record("misscale", [slot_y = y.slot(), slot_x = x.slot(), claimed] {
      const Tensor dy = take_grad(*slot_y);
      accumulate(*slot_x, scale(dy, claimed));
    });
  }
  return y;
}

}  // namespace

TEST_CASE("the gradient check passes a right gradient and catches one that is off by a millionth") {
  const std::vector<Tensor> x{random_tensor({3, 4}, 1)};
  CHECK(gradient_error([](const auto& in) { return misscale(in[0], 2, 2); }, x) <= 1);
  CHECK_FALSE(gradient_error([](const auto& in) { return misscale(in[0], 2, 2 + 1e-6); }, x) <= 1);
  CHECK_FALSE(gradient_error([](const auto& in) { return misscale(in[0], 2, std::nan("")); }, x) <= 1);
}

TEST_CASE("the gradient check catches a gradient that never arrives") {
  const std::vector<Tensor> x{random_tensor({2, 2}, 1), random_tensor({2, 2}, 2)};
  CHECK_FALSE(gradient_error([](const auto& in) { return softmax(in[0], 1); }, x) <= 1);
}

TEST_CASE("max_difference and f32_error do not swallow NaN") {
  const Tensor a = Tensor::full({2}, 1, DType::f64), b = Tensor::full({2}, std::nan(""), DType::f64);
  CHECK_FALSE(max_difference(a, b) <= 1e300);
  CHECK_FALSE(f32_error([](const auto& in) { return misscale(in[0], 1, std::nan("")); }, {a}, 1) <= 1e300);
}
