#include "engine/ops/dropout.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

/// x is f64.
int zeros(const Tensor& x) {
  int count = 0;
  for (const double value : x.span<double>()) count += value == 0;
  return count;
}

}  // namespace

TEST_CASE("dropout: gradient under a fixed seed") {
  const Tensor x = random_tensor({3, 11}, 1);
  for (const double p : {0.3, 0.9}) {
    const Function function = [p](const auto& in) { return dropout(in[0], p, dropout_key(5, 6)); };
    CHECK(gradient_error(function, {x}) <= 1);
    CHECK(f32_error(function, {x}, 4) <= 1);
  }
}

TEST_CASE("dropout: drops a share p, scales the rest by 1 / (1 - p)") {
  const Tensor x = Tensor::full({100000}, 3, DType::f64);
  const Tensor y = dropout(x, 0.25, dropout_key(1, 2));
  // Five standard deviations of a binomial.
  CHECK(std::abs(zeros(y) - 25000) <= 5 * std::sqrt(100000 * 0.25 * 0.75));
  for (const double value : y.span<double>()) {
    const bool as_expected = value == 0 || value == 3 / 0.75;
    REQUIRE(as_expected);
  }
}

TEST_CASE("dropout: another seed or stream draws another mask, the same ones the same") {
  const Tensor x = Tensor::full({1000}, 1, DType::f64);
  const Tensor y = dropout(x, 0.5, dropout_key(1, 2));
  CHECK(max_difference(y, dropout(x, 0.5, dropout_key(1, 2))) == 0);
  CHECK(max_difference(y, dropout(x, 0.5, dropout_key(1, 3))) > 0);
  CHECK(max_difference(y, dropout(x, 0.5, dropout_key(2, 2))) > 0);
}

TEST_CASE("dropout: p = 0 is no op, other sizes of p are refused") {
  const Tensor x = random_tensor({4}, 1).require_grad();
  const Tape tape;
  const Tensor y = dropout(x, 0, dropout_key(1, 2));
  CHECK(y.raw() == x.raw());
  CHECK(y.slot() == x.slot());
  CHECK(tape.size() == 0);
  const std::string rest = "; give a probability of at least 0 and below 1";
  CHECK(error_message([&] { dropout(x, 1, dropout_key(1, 2)); }) == "[dropout] p is 1" + rest);
  CHECK(error_message([&] { dropout(x, -0.5, dropout_key(1, 2)); }) == "[dropout] p is -0.5" + rest);
  CHECK(error_message([&] { dropout(x, std::nan(""), dropout_key(1, 2)); }) == "[dropout] p is nan" + rest);
}
