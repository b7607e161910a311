#include "tests/cases/optimizer.h"

#include "tests/kernels/backends.h"

namespace retort {
namespace {

/// A step of one parameter; kept until the next call.
ParameterSteps one(const ParameterStep& parameter) {
  static ParameterStep kept;
  kept = parameter;
  return {&kept, 1};
}

}  // namespace

TEST_CASE("cpu optimizer") { test::run_cases(test::kOptimizerCases, test::cpu_backends()); }

TEST_CASE("reference optimizers: by hand") {
  double w = 1, m = 99, v = 0;
  const double g = 2;
  StepScalars scalars = {.lr = 0.5, .grad_scale = 0.5, .step = 1};
  const SgdSettings nesterov = {.momentum = 0.5, .weight_decay = 1, .nesterov = true};
  test::oracle().optimizer.sgd({}, one({1, &w, &g, &m}), nesterov,
                               &scalars);  // d = 1 + 1 = 2, m = 2, w -= 0.5 * (2 + 1)
  CHECK(m == 2);
  CHECK(w == -0.5);
  scalars.step = 2;
  test::oracle().optimizer.sgd({}, one({1, &w, &g, &m}), nesterov,
                               &scalars);  // d = 1 - 0.5 = 0.5, m = 1.5, w -= 0.5 * (0.5 + 0.75)
  CHECK(m == 1.5);
  CHECK(w == -1.125);

  // Adam's first step moves by lr against the sign, whatever the gradient's size (eps aside).
  w = 1, m = 0, v = 0;
  scalars = {.lr = 0.25, .grad_scale = 1, .step = 1};
  test::oracle().optimizer.adam({}, one({1, &w, &g, &m, &v}), {.eps = 0}, &scalars);
  CHECK(std::fabs(w - 0.75) <= 8 * test::epsilon64);
  CHECK(std::fabs(m - 0.2) <= 2 * test::epsilon64);
  CHECK(std::fabs(v - 0.004) <= 2 * test::epsilon64);
  // AdamW: w -= lr * decay * w first: 1 - 0.125 = 0.875, then the same step.
  w = 1, m = 0, v = 0;
  test::oracle().optimizer.adam({}, one({1, &w, &g, &m, &v}), {.eps = 0, .weight_decay = 0.5, .decoupled = true},
                                &scalars);
  CHECK(std::fabs(w - 0.625) <= 8 * test::epsilon64);
}

}  // namespace retort
