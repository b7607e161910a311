#include "engine/ops/layer_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("layer_norm: a row by hand") {
  const Tensor x = Tensor::from<double>({1, 4}, std::vector<double>{1, 2, 3, 6});
  const Tensor gamma = Tensor::full({4}, 2, DType::f64), beta = Tensor::full({4}, 0.5, DType::f64);
  const Tensor y = layer_norm(x, gamma, beta, 0.5);  // mean 3, variance 3.5, deviation 2
  const double expected[] = {-1.5, -0.5, 0.5, 3.5};
  for (int i = 0; i < 4; ++i) CHECK(y.data<double>()[i] == doctest::Approx(expected[i]).epsilon(1e-15));
}

TEST_CASE("layer_norm: gradients of input, gamma and beta, on tokens and on maps") {
  const Function function = [](const auto& in) { return layer_norm(in[0], in[1], in[2], 1e-2); };
  for (const Shape& shape : {Shape{3, 7}, Shape{2, 3, 5}, Shape{2, 2, 3, 6}}) {
    const std::vector<Tensor> inputs = {random_tensor(shape, 1), random_tensor({shape[-1]}, 2, 0.5, 1.5),
                                        random_tensor({shape[-1]}, 3)};
    CHECK(gradient_error(function, inputs, {.third_derivative = 3000}) <= 1);
    CHECK(f32_error(function, inputs, 60) <= 1);
  }
}

TEST_CASE("layer_norm: operands that do not fit are refused") {
  const Tensor x = Tensor::zeros({2, 3}), three = Tensor::zeros({3}), two = Tensor::zeros({2});
  CHECK(error_message([&] { layer_norm(x, two, three, 1e-5); }) == "[layer_norm] gamma is f32 [2]; give f32 [3]");
  CHECK(error_message([&] { layer_norm({}, three, three, 1e-5); }) ==
        "[layer_norm] the input is empty; give [..., c] with an element at least");
}
