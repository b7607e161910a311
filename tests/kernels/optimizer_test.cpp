#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon32;
using test::epsilon64;
using test::uniform;
using test::worst;

const OptimizerKernels& cpu() { return kernels_for(Device::cpu, DType::f32).optimizer; }
const OptimizerKernels& oracle() { return kernels_for(Device::reference, DType::f64).optimizer; }

constexpr std::int64_t kSizes[] = {1, 3, 8, 17, 31, 20011};

}  // namespace

TEST_CASE("cpu sgd: one step equals the oracle's") {
  constexpr SgdSettings kSettings[] = {
      {0, 0, false}, {0, 0.1, false}, {0.9, 0, false}, {0.9, 5e-4, false}, {0.9, 0.1, true}};
  test::for_each_cpu_setting([&] {
    for (const std::int64_t n : kSizes)
      for (const SgdSettings& settings : kSettings)
        for (const std::int64_t step : {1, 2}) {
          CAPTURE(n);
          CAPTURE(settings.momentum);
          CAPTURE(step);
          const StepScalars scalars = {.lr = 0.05, .grad_scale = 0.3, .step = step};
          std::vector<float> w = uniform(n, 1);
          const std::vector<float> g = uniform(n, 2);
          // On the first step m holds nothing yet and must not be read.
          std::vector<float> m = step == 1 ? blank<float>(n) : uniform(n, 3);
          std::vector<double> w64 = test::widen(w), m64 = test::widen(m);
          const std::vector<double> g64 = test::widen(g), before = w64, m_before = m64;
          cpu().sgd({}, n, settings, &scalars, w.data(), g.data(), settings.momentum != 0 ? m.data() : nullptr);
          oracle().sgd({}, n, settings, &scalars, w64.data(), g64.data(),
                       settings.momentum != 0 ? m64.data() : nullptr);
          // Sums of three products, each with a rounded coefficient.
          const auto velocity = [&](std::size_t i) {
            return std::fabs(0.3 * g64[i]) + std::fabs(settings.weight_decay * before[i]) +
                   (step == 1 ? 0 : std::fabs(settings.momentum * m_before[i]));
          };
          CHECK(worst(w, w64, [&](std::size_t i) {
                  return epsilon32 * (std::fabs(before[i]) + 4 * scalars.lr * (1 + settings.momentum) * velocity(i));
                }) <= 1);
          if (settings.momentum != 0)
            CHECK(worst(m, m64, [&](std::size_t i) { return 3 * epsilon32 * velocity(i); }) <= 1);
        }
  });
}

TEST_CASE("cpu adam and adamw: one step equals the oracle's") {
  test::for_each_cpu_setting([] {
    for (const std::int64_t n : kSizes)
      for (const bool decoupled : {false, true})
        for (const std::int64_t step : {1, 7, 100000}) {
          CAPTURE(n);
          CAPTURE(decoupled);
          CAPTURE(step);
          const AdamSettings settings = {.weight_decay = 0.02, .decoupled = decoupled};
          const StepScalars scalars = {.lr = 1e-3, .grad_scale = 0.5, .step = step};
          std::vector<float> w = uniform(n, 1), m = uniform(n, 2), v = uniform(n, 3, 0.01, 1);
          const std::vector<float> g = uniform(n, 4);
          std::vector<double> w64 = test::widen(w), m64 = test::widen(m), v64 = test::widen(v);
          const std::vector<double> g64 = test::widen(g), before = w64, m_before = m64;
          cpu().adam({}, n, settings, &scalars, w.data(), g.data(), m.data(), v.data());
          oracle().adam({}, n, settings, &scalars, w64.data(), g64.data(), m64.data(), v64.data());
          const auto gradient = [&](std::size_t i) {
            return 0.5 * std::fabs(g64[i]) + (decoupled ? 0 : 0.02 * std::fabs(before[i]));
          };
          const auto first = [&](std::size_t i) { return 0.9 * std::fabs(m_before[i]) + 0.1 * gradient(i); };
          CHECK(worst(m, m64, [&](std::size_t i) { return 3 * epsilon32 * first(i); }) <= 1);
          CHECK(worst(v, v64,
                      [&](std::size_t i) { return 4 * epsilon32 * (v64[i] + 1e-3 * gradient(i) * gradient(i)); }) <= 1);
          CHECK(worst(w, w64, [&](std::size_t i) {
                  const double t = static_cast<double>(step);
                  const double divisor = std::sqrt(v64[i] / (1 - std::pow(0.999, t))) + 1e-8;
                  const double moved = 1e-3 * first(i) / (1 - std::pow(0.9, t)) / divisor;
                  return epsilon32 * (std::fabs(before[i]) + 12 * moved);
                }) <= 1);
        }
  });
}

TEST_CASE("cpu adamw: a decay below a weight's rounding unit is not rounded away from the factor first") {
  // 1 - 1e-7 rounds to 1 - 1.19e-7 in float: a fifth too much, for every weight, at every step.
  const AdamSettings settings = {.weight_decay = 1e-3, .decoupled = true};
  const StepScalars scalars = {.lr = 1e-4, .step = 1};
  const std::int64_t n = 10000;
  test::for_each_cpu_setting([&] {
    std::vector<float> w = uniform(n, 5, 1, 2), m(w.size()), v(w.size());
    const std::vector<float> g(w.size()), before = w;
    cpu().adam({}, n, settings, &scalars, w.data(), g.data(), m.data(), v.data());
    for (std::size_t i = 0; i < w.size(); ++i)
      CHECK_FALSE(!(std::fabs(before[i] * (1 - 1e-7) - w[i]) <= epsilon32 / 2 * before[i]));
  });
}

TEST_CASE("cpu add_sum_of_squares: adds to what is there, the same bits whatever the threads") {
  for (const std::int64_t n : {1, 7, 8, 17, 8191, 100003}) {
    const std::vector<float> x = uniform(n, 6);
    const std::vector<double> x64 = test::widen(x);
    double expected = 3, first = 0;
    oracle().add_sum_of_squares({}, n, x64.data(), &expected);
    test::for_each_cpu_setting([&] {
      CAPTURE(n);
      double sum = 3;
      cpu().add_sum_of_squares({}, n, x.data(), &sum);
      CHECK(std::fabs(sum - expected) <= static_cast<double>(n + 2) * epsilon64 * expected);
      if (num_threads() == 1) first = sum;
      CHECK(sum == first);
    });
  }
}

TEST_CASE("reference optimizers: by hand") {
  double w = 1, m = 99, v = 0;
  const double g = 2;
  StepScalars scalars = {.lr = 0.5, .grad_scale = 0.5, .step = 1};
  const SgdSettings nesterov = {.momentum = 0.5, .weight_decay = 1, .nesterov = true};
  oracle().sgd({}, 1, nesterov, &scalars, &w, &g, &m);  // d = 1 + 1 = 2, m = 2, w -= 0.5 * (2 + 1)
  CHECK(m == 2);
  CHECK(w == -0.5);
  scalars.step = 2;
  oracle().sgd({}, 1, nesterov, &scalars, &w, &g, &m);  // d = 1 - 0.5 = 0.5, m = 1.5, w -= 0.5 * (0.5 + 0.75)
  CHECK(m == 1.5);
  CHECK(w == -1.125);

  // Adam's first step moves by lr against the sign, whatever the gradient's size (eps aside).
  w = 1, m = 0, v = 0;
  scalars = {.lr = 0.25, .grad_scale = 1, .step = 1};
  oracle().adam({}, 1, {.eps = 0}, &scalars, &w, &g, &m, &v);
  CHECK(std::fabs(w - 0.75) <= 8 * epsilon64);
  CHECK(std::fabs(m - 0.2) <= 2 * epsilon64);
  CHECK(std::fabs(v - 0.004) <= 2 * epsilon64);
  // AdamW: w -= lr * decay * w first: 1 - 0.125 = 0.875, then the same step.
  w = 1, m = 0, v = 0;
  oracle().adam({}, 1, {.eps = 0, .weight_decay = 0.5, .decoupled = true}, &scalars, &w, &g, &m, &v);
  CHECK(std::fabs(w - 0.625) <= 8 * epsilon64);
}

}  // namespace retort
