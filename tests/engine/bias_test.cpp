#include "engine/distill/bias.h"

#include <doctest/doctest.h>

#include <vector>

#include "engine/core/random.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

std::int64_t errors_at(const Tensor& logits, const Tensor& labels, std::int64_t shifted, double shift) {
  std::int64_t errors = 0;
  const std::int64_t classes = logits.shape()[1];
  for (std::int64_t row = 0; row < logits.shape()[0]; ++row) {
    std::int64_t best = 0;
    const auto value = [&](std::int64_t i) {
      return logits.data<float>()[row * classes + i] + (i == shifted ? shift : 0);
    };
    for (std::int64_t i = 1; i < classes; ++i)
      if (value(i) > value(best)) best = i;
    errors += best != labels.data<std::int64_t>()[row];
  }
  return errors;
}

}  // namespace

TEST_CASE("best_shift: two samples of an unseen class are won back between the margins") {
  // Margins of class 1: 3 and 2 for its own samples, 5 for one of class 0.
  const std::vector<float> z{3, 0, 2, 0, 5, 0};
  const std::vector<std::int64_t> y{1, 1, 0};
  const Shift shift = best_shift(Tensor::from<float>({3, 2}, z), Tensor::from<std::int64_t>({3}, y), {1});
  CHECK(shift.value == 4);
  CHECK(shift.errors_before == 2);
  CHECK(shift.errors == 0);
}

TEST_CASE("best_shift: no grid of shifts does better, and nothing to gain means no shift") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    Tensor logits = Tensor::empty({60, 4}), labels = Tensor::empty({60}, DType::i64);
    fill_uniform(logits, -3, 3, Random(seed));
    Random random(seed + 10);
    for (std::int64_t& label : labels.span<std::int64_t>()) label = static_cast<std::int64_t>(random.below(4));
    const Shift shift = best_shift(logits, labels, {2});
    CHECK(shift.errors_before == errors_at(logits, labels, 2, 0));
    CHECK(shift.errors == errors_at(logits, labels, 2, shift.value));
    for (int step = -800; step <= 800; ++step) CHECK(shift.errors <= errors_at(logits, labels, 2, step * 0.01 + 1e-3));
  }
  const std::vector<float> z{3, 0, 0, 3};
  const std::vector<std::int64_t> y{0, 1};
  CHECK(best_shift(Tensor::from<float>({2, 2}, z), Tensor::from<std::int64_t>({2}, y), {1}).value == 0);
}

TEST_CASE("best_shift: what cannot be shifted is named") {
  const Tensor logits = Tensor::zeros({1, 2}), labels = Tensor::zeros({1}, DType::i64);
  CHECK(error_message([&] { best_shift(logits, labels, {}); }) ==
        "bias: 0 of 2 classes to shift; name at least one and not all");
  CHECK(error_message([&] {
          best_shift(logits, labels, {0, 1});
        }) == "bias: 2 of 2 classes to shift; name at least one and not all");
}
