#include <doctest/doctest.h>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("concat: value and gradients, of one to four axes and one to three parts") {
  const Function join = [](const auto& in) { return concat(in); };
  const Tensor a = random_tensor({2, 3, 2, 1}, 1), b = random_tensor({2, 3, 2, 4}, 2),
               c = random_tensor({2, 3, 2, 2}, 3);
  const Tensor y = concat({a, b, c});
  CHECK(y.shape() == Shape{2, 3, 2, 7});
  for (std::int64_t row = 0; row < 12; ++row)
    for (std::int64_t i = 0; i < 7; ++i) {
      const double expected = i < 1   ? a.data<double>()[row]
                              : i < 5 ? b.data<double>()[row * 4 + i - 1]
                                      : c.data<double>()[row * 2 + i - 5];
      CHECK(y.data<double>()[row * 7 + i] == expected);
    }
  CHECK(gradient_error(join, {a, b, c}) <= 1);
  CHECK(f32_error(join, {a, b, c}, 1) <= 1);
  CHECK(gradient_error(join, {a}) <= 1);
  CHECK(gradient_error(join, {random_tensor({2, 3, 2}, 1), random_tensor({2, 3, 1}, 2)}) <= 1);
  CHECK(gradient_error(join, {random_tensor({2, 3}, 1), random_tensor({2, 1}, 2)}) <= 1);
  CHECK(gradient_error(join, {random_tensor({3}, 1), random_tensor({1}, 2)}) <= 1);
}

TEST_CASE("concat: the same tensor twice, and parts that need no gradient") {
  const Tensor a = random_tensor({2, 2}, 1), fixed = random_tensor({2, 3}, 2);
  CHECK(gradient_error([](const auto& in) { return concat({in[0], in[0]}); }, {a}) <= 1);
  CHECK(gradient_error([&](const auto& in) { return concat({fixed, in[0], fixed}); }, {a}) <= 1);
  const Tape tape;
  CHECK_FALSE(concat({a, fixed}).requires_grad());
  CHECK(tape.size() == 0);
}

TEST_CASE("concat: saves nothing") {
  const Tensor a = random_tensor({2, 2}, 1).require_grad(), b = random_tensor({2, 2}, 2).require_grad();
  const Tape tape;
  const Tensor y = concat({a, b});
  CHECK(a.unique());
  CHECK(y.unique());
}

TEST_CASE("concat: parts that do not fit are named") {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({3, 3}), c = Tensor::zeros({2, 3}, DType::f64),
               d = Tensor::zeros({2, 3, 1});
  CHECK(error_message([&] { concat({}); }) == "[concat] no parts; give at least one");
  CHECK(error_message([&] { concat({Tensor::zeros({})}); }) == "[concat] part 0 has no axis; give at least one");
  CHECK(error_message([&] {
          concat({a, a, b});
        }) == "[concat] part 2 is f32 [3, 3], part 0 f32 [2, 3]; only the last extents may differ");
  CHECK(error_message([&] {
          concat({a, c});
        }) == "[concat] part 1 is f64 [2, 3], part 0 f32 [2, 3]; only the last extents may differ");
  CHECK(error_message([&] {
          concat({a, d});
        }) == "[concat] part 1 is f32 [2, 3, 1], part 0 f32 [2, 3]; only the last extents may differ");
}
