#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("scale: value and gradient") {
  const Tensor x = random_tensor({3, 5}, 1);
  const Function function = [](const auto& in) { return scale(in[0], -2.5); };
  const Tensor y = function({x});
  for (std::int64_t i = 0; i < y.count(); ++i) CHECK(y.data<double>()[i] == -2.5 * x.data<double>()[i]);
  CHECK(gradient_error(function, {x}) <= 1);
  CHECK(f32_error(function, {x}, 4) <= 1);
}

TEST_CASE("scale: saves nothing") {
  const Tensor x = random_tensor({3}, 1).require_grad();
  const Tape tape;
  const Tensor y = scale(x, 2);
  CHECK(x.unique());
  CHECK(y.unique());
}
