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
using test::epsilon64;
using test::uniform;

const SoftmaxKernels& cpu() { return kernels_for(Device::cpu, DType::f32).softmax; }
const SoftmaxKernels& oracle() { return kernels_for(Device::reference, DType::f64).softmax; }

constexpr Rows kShapes[] = {{1, 1}, {1, 2}, {3, 3}, {2, 7}, {5, 8}, {4, 9}, {3, 17}, {70, 100}, {11, 1000}};

}  // namespace

TEST_CASE("cpu softmax: forward and backward equal the oracle for logits up to 100") {
  test::for_each_cpu_setting([] {
    for (const Rows rows : kShapes)
      for (const double temperature : {0.5, 1.0, 20.0}) {
        CAPTURE(rows.rows);
        CAPTURE(rows.classes);
        CAPTURE(temperature);
        const std::int64_t n = rows.rows * rows.classes;
        const std::vector<float> x = uniform(n, 1, -100, 100), dy = uniform(n, 2);
        const std::vector<double> x64 = test::widen(x), dy64 = test::widen(dy);
        std::vector<float> y = blank<float>(n), dx = blank<float>(n);
        std::vector<double> y64 = blank<double>(n), dx64 = blank<double>(n);
        cpu().forward({}, rows, temperature, x.data(), y.data());
        oracle().forward({}, rows, temperature, x64.data(), y64.data());
        // exp's argument, up to 200 / T, carries a rounding or two.
        CHECK(test::worst(y, y64, [&](std::size_t i) {
                return test::rounding_tolerance(y64[i], (400 / temperature + 8) * epsilon64 * y64[i]);
              }) <= 1);
        const std::vector<double> given = test::widen(y);
        cpu().backward({}, rows, temperature, y.data(), dy.data(), dx.data());
        oracle().backward({}, rows, temperature, given.data(), dy64.data(), dx64.data());
        // The sum of products has `classes` roundings in double, on values of at most 1.
        CHECK(test::worst(dx, dx64, [&](std::size_t i) {
                return test::rounding_tolerance(
                    dx64[i], static_cast<double>(rows.classes + 4) * epsilon64 * given[i] / temperature);
              }) <= 1);
      }
  });
}

TEST_CASE("softmax: NaN and infinite logits give NaN rows, and their neighbours are untouched") {
  test::for_each_cpu_setting([] {
    for (const Device device : {Device::cpu, Device::reference})
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> x = uniform(3 * 21, 3), y = blank<float>(3 * 21);
        x[21 + 20] = bad;
        kernels_for(device, DType::f32).softmax.forward({}, {3, 21}, 1, x.data(), y.data());
        CHECK(std::isnan(y[41]));
        CHECK(std::isfinite(y[20]));
        CHECK(std::isfinite(y[42]));
      }
  });
}

TEST_CASE("reference softmax: by hand, and its gradient by finite differences") {
  const Rows rows = {1, 3};
  std::vector<double> x = {std::log(1.0), std::log(2.0), std::log(5.0)}, y = blank<double>(3), dx = blank<double>(3);
  oracle().forward({}, rows, 1, x.data(), y.data());
  CHECK(std::fabs(y[0] - 0.125) <= 4 * epsilon64);
  CHECK(std::fabs(y[2] - 0.625) <= 4 * epsilon64);
  oracle().forward({}, rows, 2, x.data(), y.data());
  const std::vector<double> dy = {1, -2, 0.5};
  oracle().backward({}, rows, 2, y.data(), dy.data(), dx.data());
  for (std::size_t i = 0; i < 3; ++i) {
    const double slope = test::finite_difference(x, i, 1e-5, [&] {
      std::vector<double> out = blank<double>(3);
      oracle().forward({}, rows, 2, x.data(), out.data());
      return out[0] * dy[0] + out[1] * dy[1] + out[2] * dy[2];
    });
    CHECK(std::fabs(dx[i] - slope) <= test::difference_tolerance(1e-5, 4));
  }
}

}  // namespace retort
