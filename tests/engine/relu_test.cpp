#include <doctest/doctest.h>

#include <cmath>

#include "engine/ops/elementwise.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("relu: value and gradient") {
  const Tensor x = spaced_tensor({3, 7}, 1);
  const Function function = [](const auto& in) { return relu(in[0]); };
  const Tensor y = function({x});
  for (std::int64_t i = 0; i < y.count(); ++i) CHECK(y.data<double>()[i] == std::max(0.0, x.data<double>()[i]));
  CHECK(gradient_error(function, {x}) <= 1);
  CHECK(f32_error(function, {x}, 1) <= 1);
}

TEST_CASE("relu: no gradient passes at exactly 0, and NaN stays NaN") {
  const std::vector<double> values{0, -0.0, std::nan("")};
  const Tensor x = Tensor::from<double>({3}, values).require_grad();
  Tape tape;
  const Tensor y = relu(x);
  CHECK(std::isnan(y.data<double>()[2]));
  tape.backward(y, Tensor::full({3}, 1, DType::f64));
  CHECK(x.grad().data<double>()[0] == 0);
  CHECK(x.grad().data<double>()[1] == 0);
}

TEST_CASE("relu: saves its output alone") {
  const Tensor x = spaced_tensor({3}, 1).require_grad();
  const Tape tape;
  const Tensor y = relu(x);
  CHECK(x.unique());
  CHECK_FALSE(y.unique());
}
