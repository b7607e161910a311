#include "engine/ops/linear.h"

#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("linear: gradients of input, weight and bias") {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 5, 4}, Shape{4, 1, 3}, Shape{1, 6, 2}}) {
    const std::int64_t n = shape[0], in = shape[1], out = shape[2];
    CAPTURE(n);
    const std::vector<Tensor> inputs{random_tensor({n, in}, 1), random_tensor({in, out}, 2), random_tensor({out}, 3)};
    const Function biased = [](const auto& x) { return linear(x[0], x[1], x[2]); };
    const Function plain = [](const auto& x) { return linear(x[0], x[1], {}); };
    CHECK(gradient_error(biased, inputs) <= 1);
    CHECK(gradient_error(plain, {inputs[0], inputs[1]}) <= 1);
    CHECK(f32_error(biased, inputs, 10) <= 1);
  }
}

TEST_CASE("linear: gradients with ReLU, which equals relu() after it") {
  const std::vector<Tensor> inputs{integer_tensor({3, 5}, 1), integer_tensor({5, 4}, 2),
                                   Tensor::full({4}, 0.5, DType::f64)};
  const Function fused = [](const auto& x) { return linear(x[0], x[1], x[2], true); };
  CHECK(gradient_error(fused, inputs) <= 1);
  CHECK(max_difference(fused(inputs), relu(linear(inputs[0], inputs[1], inputs[2]))) == 0);
  CHECK(f32_error(fused, inputs, 10) <= 1);
}

TEST_CASE("linear: y = x w + b") {
  const std::vector<double> x{1, 2, 3, 4}, w{1, 0, 10, 100, 5, 7}, b{0.5, 0.25, 0};
  const Tensor y =
      linear(Tensor::from<double>({2, 2}, x), Tensor::from<double>({2, 3}, w), Tensor::from<double>({3}, b));
  const std::vector<double> expected{201.5, 10.25, 24, 403.5, 20.25, 58};
  CHECK(max_difference(y, Tensor::from<double>({2, 3}, expected)) == 0);
}

TEST_CASE("linear: gradients only where they are wanted") {
  const Tensor x = random_tensor({3, 5}, 1), weight = random_tensor({5, 2}, 2), bias = random_tensor({2}, 3);
  CHECK(gradient_error([&](const auto& in) { return linear(in[0], weight, bias); }, {x}) <= 1);
  CHECK(gradient_error([&](const auto& in) { return linear(x, in[0], bias); }, {weight}) <= 1);
  CHECK(gradient_error([&](const auto& in) { return linear(x, weight, in[0]); }, {bias}) <= 1);
}

TEST_CASE("linear: shapes that do not fit are named") {
  const Tensor x = Tensor::zeros({2, 5}), weight = Tensor::zeros({5, 3});
  CHECK(error_message([&] {
          linear(Tensor::zeros({2, 5, 1}), weight, {});
        }) == "[linear] the input is f32 [2, 5, 1]; give f32, f64 or bf16 [n, in]");
  CHECK(error_message([&] { linear(x, Tensor::zeros({3}), {}); }) ==
        "[linear] the input is f32 [3]; give f32, f64 or bf16 [in, out] for the weight");
  CHECK(error_message([&] {
          linear(x, Tensor::zeros({4, 3}), {});
        }) == "[linear] the weight is f32 [4, 3]; give f32 [5, 3]");
  CHECK(error_message([&] { linear(x, weight.to(DType::f64), {}); }) ==
        "[linear] the weight is f64 [5, 3]; give f32 [5, 3]");
  CHECK(error_message([&] { linear(x, weight, Tensor::zeros({5})); }) == "[linear] the bias is f32 [5]; give f32 [3]");
}
