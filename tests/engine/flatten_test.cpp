#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("flatten: a view in memory order, and its gradient") {
  const Tensor x = random_tensor({2, 3, 2, 4}, 1);
  const Function function = [](const auto& in) { return flatten(in[0]); };
  const Tensor y = function({x});
  CHECK(y.shape() == Shape{2, 24});
  CHECK(y.raw() == x.raw());
  CHECK(gradient_error(function, {x}) <= 1);
  CHECK(f32_error(function, {x}, 1) <= 1);
}

TEST_CASE("flatten: takes an image of four axes only") {
  CHECK(error_message([] {
          flatten(Tensor::zeros({2, 3}));
        }) == "[flatten] the input is f32 [2, 3]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([] { flatten({}); }) == "[flatten] the input is empty; give f32, f64 or bf16 [n, h, w, c]");
}

TEST_CASE("reshape: a view, its gradient, and a shape of another count") {
  const Tensor x = random_tensor({2, 3, 4}, 1);
  const Function function = [](const auto& in) { return reshape(in[0], {2, 2, 6}); };
  CHECK(function({x}).shape() == Shape{2, 2, 6});
  CHECK(function({x}).raw() == x.raw());
  CHECK(gradient_error(function, {x}) <= 1);
  CHECK(error_message([&] {
          reshape(x, {2, 5});
        }) == "[reshape] the input is [2, 3, 4], not [2, 5]; give a shape of as many elements");
}
