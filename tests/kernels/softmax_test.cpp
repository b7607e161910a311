#include "tests/cases/softmax.h"

#include "tests/kernels/backends.h"

namespace retort {

TEST_CASE("cpu softmax") { test::run_cases(test::kSoftmaxCases, test::cpu_backends()); }

TEST_CASE("reference softmax: by hand, and its gradient by finite differences") {
  const Rows rows = {1, 3};
  std::vector<double> x = {std::log(1.0), std::log(2.0), std::log(5.0)}, y = test::blank<double>(3),
                      dx = test::blank<double>(3);
  test::oracle().softmax.forward({}, rows, 1, x.data(), y.data());
  CHECK(std::fabs(y[0] - 0.125) <= 4 * test::epsilon64);
  CHECK(std::fabs(y[2] - 0.625) <= 4 * test::epsilon64);
  test::oracle().softmax.forward({}, rows, 2, x.data(), y.data());
  const std::vector<double> dy = {1, -2, 0.5};
  test::oracle().softmax.backward({}, rows, 2, y.data(), dy.data(), dx.data());
  for (std::size_t i = 0; i < 3; ++i) {
    const double slope = test::finite_difference(x, i, 1e-5, [&] {
      std::vector<double> out = test::blank<double>(3);
      test::oracle().softmax.forward({}, rows, 2, x.data(), out.data());
      return out[0] * dy[0] + out[1] * dy[1] + out[2] * dy[2];
    });
    CHECK(std::fabs(dx[i] - slope) <= test::difference_tolerance(1e-5, 4));
  }
}

}  // namespace retort
