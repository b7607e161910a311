#include <doctest/doctest.h>

#include <cmath>
#include <limits>
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

/// A step of one parameter; kept until the next call.
ParameterSteps one(const ParameterStep& parameter) {
  static ParameterStep kept;
  kept = parameter;
  return {&kept, 1};
}

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
          cpu().sgd({}, one({n, w.data(), g.data(), settings.momentum != 0 ? m.data() : nullptr}), settings, &scalars);
          oracle().sgd({}, one({n, w64.data(), g64.data(), settings.momentum != 0 ? m64.data() : nullptr}), settings,
                       &scalars);
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
          cpu().adam({}, one({n, w.data(), g.data(), m.data(), v.data()}), settings, &scalars);
          oracle().adam({}, one({n, w64.data(), g64.data(), m64.data(), v64.data()}), settings, &scalars);
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
    cpu().adam({}, one({n, w.data(), g.data(), m.data(), v.data()}), settings, &scalars);
    for (std::size_t i = 0; i < w.size(); ++i)
      CHECK_FALSE(!(std::fabs(before[i] * (1 - 1e-7) - w[i]) <= epsilon32 / 2 * before[i]));
  });
}

TEST_CASE("cpu clip: the norm over all parameters, the same bits whatever the threads") {
  for (const std::int64_t n : {1, 7, 8, 17, 8191, 100003}) {
    const std::vector<float> x = uniform(n, 6), y = uniform(5, 7);
    const std::vector<double> x64 = test::widen(x), y64 = test::widen(y);
    double expected = 0, first = 0;
    StepScalars scalars;
    const ParameterStep wide[] = {{.n = n, .g = x64.data()}, {.n = 5, .g = y64.data()}};
    oracle().clip({}, wide, 1e9, &scalars, &expected, nullptr);
    CHECK(scalars.grad_scale == 1);
    test::for_each_cpu_setting([&] {
      CAPTURE(n);
      double norm = 0;
      const ParameterStep both[] = {{.n = n, .g = x.data()}, {.n = 5, .g = y.data()}};
      cpu().clip({}, both, 0.25, &scalars, &norm, nullptr);
      CHECK(std::fabs(norm - expected) <= static_cast<double>(n + 7) * epsilon64 * expected);
      CHECK(scalars.grad_scale == (norm > 0.25 ? 0.25 / norm : 1));
      if (num_threads() == 1) first = norm;
      CHECK(norm == first);
    });
  }
}

TEST_CASE("optimizers find the first parameter that is not finite") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const double bad : {inf, -inf, std::nan("")}) {
    std::vector<double> a(3, 1.0), b(70000, 2.0), c(4, 3.0);
    std::vector<float> a32(3, 1.0f), b32(70000, 2.0f), c32(4, 3.0f);
    const ParameterStep wide[] = {{.n = 3, .w = a.data()}, {.n = 70000, .w = b.data()}, {.n = 4, .w = c.data()}};
    const ParameterStep narrow[] = {
        {.n = 3, .w = a32.data()}, {.n = 70000, .w = b32.data()}, {.n = 4, .w = c32.data()}};
    std::int32_t index = 7, index32 = 7;
    const auto search = [&] {
      oracle().find_not_finite({}, wide, &index, nullptr);
      cpu().find_not_finite({}, narrow, &index32, nullptr);
      CHECK(index == index32);
      return index;
    };
    CHECK(search() == -1);
    c[3] = bad, c32[3] = static_cast<float>(bad);
    CHECK(search() == 2);
    b[69999] = bad, b32[69999] = static_cast<float>(bad);
    CHECK(search() == 1);
  }
}

TEST_CASE("reference optimizers: by hand") {
  double w = 1, m = 99, v = 0;
  const double g = 2;
  StepScalars scalars = {.lr = 0.5, .grad_scale = 0.5, .step = 1};
  const SgdSettings nesterov = {.momentum = 0.5, .weight_decay = 1, .nesterov = true};
  oracle().sgd({}, one({1, &w, &g, &m}), nesterov, &scalars);  // d = 1 + 1 = 2, m = 2, w -= 0.5 * (2 + 1)
  CHECK(m == 2);
  CHECK(w == -0.5);
  scalars.step = 2;
  oracle().sgd({}, one({1, &w, &g, &m}), nesterov, &scalars);  // d = 1 - 0.5 = 0.5, m = 1.5, w -= 0.5 * (0.5 + 0.75)
  CHECK(m == 1.5);
  CHECK(w == -1.125);

  // Adam's first step moves by lr against the sign, whatever the gradient's size (eps aside).
  w = 1, m = 0, v = 0;
  scalars = {.lr = 0.25, .grad_scale = 1, .step = 1};
  oracle().adam({}, one({1, &w, &g, &m, &v}), {.eps = 0}, &scalars);
  CHECK(std::fabs(w - 0.75) <= 8 * epsilon64);
  CHECK(std::fabs(m - 0.2) <= 2 * epsilon64);
  CHECK(std::fabs(v - 0.004) <= 2 * epsilon64);
  // AdamW: w -= lr * decay * w first: 1 - 0.125 = 0.875, then the same step.
  w = 1, m = 0, v = 0;
  oracle().adam({}, one({1, &w, &g, &m, &v}), {.eps = 0, .weight_decay = 0.5, .decoupled = true}, &scalars);
  CHECK(std::fabs(w - 0.625) <= 8 * epsilon64);
}

}  // namespace retort
