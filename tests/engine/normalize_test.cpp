#include "engine/ops/normalize.h"

#include <doctest/doctest.h>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("normalize: a row by hand") {
  const Tensor y = normalize(Tensor::from<double>({2, 2}, std::vector<double>{3, -4, 0, 0}));
  const double expected[] = {0.6, -0.8, 0, 0};
  for (int i = 0; i < 4; ++i) CHECK(y.data<double>()[i] == doctest::Approx(expected[i]).epsilon(1e-15));
}

TEST_CASE("normalize: gradient") {
  const Function function = [](const auto& in) { return normalize(in[0]); };
  for (const std::int64_t k : {1, 2, 9}) {
    const Tensor x = random_tensor({3, k}, 1, 0.5, 2);
    CHECK(gradient_error(function, {x}) <= 1);
    CHECK(f32_error(function, {x}, 40) <= 1);
  }
}

TEST_CASE("normalize: another rank is refused") {
  CHECK(error_message([&] { normalize(Tensor::zeros({3})); }) ==
        "[normalize] the input is f32 [3]; give f32, f64 or bf16 [n, k]");
}
