#include "engine/ops/softmax.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("softmax: gradient at several temperatures and class counts") {
  for (const double temperature : {0.5, 1.0, 4.0, 20.0})
    for (const std::int64_t classes : {1, 2, 7}) {
      const Function function = [temperature](const auto& in) { return softmax(in[0], temperature); };
      const Tensor x = random_tensor({3, classes}, 1, -3, 3);
      CHECK(gradient_error(function, {x}) <= 1);
      CHECK(f32_error(function, {x}, 40) <= 1);
    }
}

TEST_CASE("softmax: the last of several axes") {
  const Function function = [](const auto& in) { return softmax(in[0]); };
  const Tensor x = random_tensor({2, 3, 2, 5}, 1, -3, 3), flat = softmax(x.reshaped({12, 5}));
  CHECK(max_difference(function({x}), flat) == 0);
  CHECK(function({x}).shape() == x.shape());
  CHECK(gradient_error(function, {x}) <= 1);
}

TEST_CASE("softmax: rows sum to 1; large logits do not overflow; T softens") {
  const std::vector<double> values{1000, 1000, -1000, 0, std::log(2.0), std::log(5.0)};
  const Tensor x = Tensor::from<double>({2, 3}, values);
  const Tensor y = softmax(x), soft = softmax(x, 2);
  CHECK(y.data<double>()[0] == doctest::Approx(0.5).epsilon(1e-15));
  CHECK(y.data<double>()[2] == 0);
  CHECK(y.data<double>()[4] == doctest::Approx(2.0 / 8).epsilon(1e-15));
  CHECK(soft.data<double>()[5] == doctest::Approx(std::sqrt(5) / (1 + std::sqrt(2) + std::sqrt(5))).epsilon(1e-15));
}

TEST_CASE("softmax: a temperature or a shape out of range is refused") {
  const Tensor x = Tensor::zeros({2, 3});
  CHECK(error_message([&] { softmax(x, 0); }) == "[softmax] the temperature is 0; give one above 0");
  CHECK(error_message([&] { softmax(x, -2); }) == "[softmax] the temperature is -2; give one above 0");
  CHECK(error_message([&] { softmax(x, std::nan("")); }) == "[softmax] the temperature is nan; give one above 0");
  CHECK(error_message([&] { softmax(Tensor::zeros({3})); }) ==
        "[softmax] the input is f32 [3]; give f32, f64 or bf16 [n, classes]");
}
