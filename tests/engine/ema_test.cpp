#include "engine/nn/ema.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/core/check.h"

using namespace retort;

namespace {

Parameter parameter(const char* name, double value) {
  Parameter made;
  made.value = Tensor::full({2}, value);
  made.name = name;
  return made;
}

double value_of(const Tensor& tensor) { return static_cast<double>(tensor.data<float>()[1]); }

}  // namespace

TEST_CASE("WeightAverage: hand-computed steps, the decay warming up") {
  Parameter w = parameter("w", 1), running = parameter("bn.running_mean", 5), frozen = parameter("frozen", 7);
  running.buffer = true;
  frozen.frozen = true;
  Parameter counter;
  counter.value = Tensor::zeros({}, DType::i64);
  counter.buffer = true;
  counter.name = "bn.num_batches_tracked";
  WeightAverage average({&w, &running, &frozen, &counter}, 0.3);
  double expected_w = 1, expected_running = 5;
  for (std::int64_t step = 1; step <= 6; ++step) {
    const double next = 2.0 * static_cast<double>(step);
    w.value.copy_from(Tensor::full({2}, next));
    running.value.copy_from(Tensor::full({2}, -next));
    *counter.value.data<std::int64_t>() = step;
    average.update(step);
    const double t = static_cast<double>(step), d = std::min(0.3, (1 + t) / (10 + t));  // 2/11, 3/12, then 0.3
    expected_w = d * expected_w + (1 - d) * next;
    expected_running = d * expected_running - (1 - d) * next;
  }
  const auto state = average.state();
  REQUIRE(state.size() == 3);  // what is frozen has no average
  CHECK(state[0].first == "w");
  CHECK(value_of(state[0].second) == doctest::Approx(expected_w).epsilon(1e-6));
  CHECK(value_of(state[1].second) == doctest::Approx(expected_running).epsilon(1e-6));
  CHECK(*state[2].second.data<std::int64_t>() == 6);
  CHECK(value_of(w.value) == 12);
  const void* const place = w.value.raw();
  {
    const WeightAverage::Scope scope(average);
    CHECK(w.value.raw() == place);
    CHECK(value_of(w.value) == doctest::Approx(expected_w).epsilon(1e-6));
    CHECK(value_of(running.value) == doctest::Approx(expected_running).epsilon(1e-6));
    CHECK(value_of(frozen.value) == 7);
  }
  CHECK(value_of(w.value) == 12);
  CHECK(value_of(average.state()[0].second) == doctest::Approx(expected_w).epsilon(1e-6));
}

TEST_CASE("WeightAverage: refuses a decay that is none") {
  Parameter w = parameter("w", 1);
  for (const double decay : {0.0, 1.0, -0.5, 1.5}) CHECK_THROWS_AS(WeightAverage({&w}, decay), UsageError);
}
