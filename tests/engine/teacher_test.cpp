// How several teachers' logits become one.
#include "engine/distill/teacher.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

namespace retort {
namespace {

Tensor row(const std::vector<double>& values) {
  Tensor z = Tensor::empty({1, static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) z.data<float>()[i] = static_cast<float>(values[i]);
  return z;
}

/// Two roundings of numbers below 4 to float.
void check_row(const Tensor& found, const std::vector<double>& expected) {
  REQUIRE(found.shape() == Shape{1, static_cast<std::int64_t>(expected.size())});
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(found.data<float>()[i] - expected[i]) <= 1e-6);
}

}  // namespace

TEST_CASE("logits are combined as their mean, the mean probability or the mean log probability, weighted") {
  // Probabilities 0.8, 0.2 and 0.4, 0.6 with levels of 3 and -1, which only the logit mean keeps.
  const std::vector<Tensor> both = {row({std::log(0.8) + 3, std::log(0.2) + 3}),
                                    row({std::log(0.4) - 1, std::log(0.6) - 1})};
  const std::vector<double> weights = {3, 1};
  check_row(combine_logits(both, Combine::arithmetic), {std::log(0.6), std::log(0.4)});
  check_row(combine_logits(both, Combine::arithmetic, weights), {std::log(0.7), std::log(0.3)});
  check_row(combine_logits(both, Combine::geometric),
            {(std::log(0.8) + std::log(0.4)) / 2, (std::log(0.2) + std::log(0.6)) / 2});
  check_row(combine_logits(both, Combine::geometric, weights),
            {(3 * std::log(0.8) + std::log(0.4)) / 4, (3 * std::log(0.2) + std::log(0.6)) / 4});
  check_row(combine_logits(both, Combine::logit),
            {(std::log(0.8) + std::log(0.4)) / 2 + 1, (std::log(0.2) + std::log(0.6)) / 2 + 1});
  check_row(combine_logits(both, Combine::logit, weights),
            {(3 * std::log(0.8) + std::log(0.4)) / 4 + 2, (3 * std::log(0.2) + std::log(0.6)) / 4 + 2});
}

TEST_CASE("teachers whose classes or weights do not fit are refused") {
  const std::vector<Tensor> different = {row({1, 2}), row({1, 2, 3})};
  CHECK_THROWS_AS(combine_logits(different, Combine::logit), Error);
  const std::vector<Tensor> both = {row({1, 2}), row({3, 4})};
  CHECK_THROWS_AS(combine_logits(both, Combine::logit, {1}), Error);
}

}  // namespace retort
