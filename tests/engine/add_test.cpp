#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("add: value and gradients") {
  const Tensor a = random_tensor({2, 3, 4}, 1), b = random_tensor({2, 3, 4}, 2);
  const Tensor y = add(a, b);
  for (std::int64_t i = 0; i < y.count(); ++i) CHECK(y.data<double>()[i] == a.data<double>()[i] + b.data<double>()[i]);
  const Function function = [](const auto& in) { return add(in[0], in[1]); };
  CHECK(gradient_error(function, {a, b}) <= 1);
  CHECK(f32_error(function, {a, b}, 2) <= 1);
}

TEST_CASE("add: a gradient for one input only") {
  const Tensor a = random_tensor({3}, 1), b = random_tensor({3}, 2);
  CHECK(gradient_error([&b](const auto& in) { return add(in[0], b); }, {a}) <= 1);
  CHECK(gradient_error([&b](const auto& in) { return add(b, in[0]); }, {a}) <= 1);
}

TEST_CASE("add: saves nothing, and backward makes no copy") {
  const Tensor a = random_tensor({3}, 1).require_grad(), b = random_tensor({3}, 2).require_grad();
  const Tensor seed = random_tensor({3}, 3);
  Tape tape;
  Tensor y = add(a, b);
  CHECK(y.unique());
  CHECK(a.unique());
  tape.backward(y, seed);
  CHECK(a.grad().raw() == seed.raw());
  CHECK(b.grad().raw() == seed.raw());
}

TEST_CASE("add: other shapes and dtypes are refused") {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({3, 2}), c = Tensor::zeros({2, 3}, DType::f64);
  CHECK(error_message([&] { add(a, b); }) == "[add] a is f32 [2, 3], b f32 [3, 2]; give two of one shape and dtype");
  CHECK(error_message([&] { add(a, c); }) == "[add] a is f32 [2, 3], b f64 [2, 3]; give two of one shape and dtype");
}
