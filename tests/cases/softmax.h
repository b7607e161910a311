// Softmax and its gradient on any backend.
#pragma once

#include <cmath>
#include <limits>

#include "tests/cases/backend.h"
#include "tests/cases/rows_shapes.h"

namespace retort::test {
namespace softmax_cases {

template <class T>
void check(const Backend& backend, const KernelTable& table, Rows rows, double range, double temperature) {
  CAPTURE(rows.rows);
  CAPTURE(rows.classes);
  CAPTURE(range);
  CAPTURE(temperature);
  const std::int64_t n = rows.rows * rows.classes;
  const std::vector<T> logits = as<T>(uniform(n, 1, -range, range)), gradient = as<T>(uniform(n, 2));
  std::vector<double> y64 = blank<double>(n), dx64 = y64;
  oracle().softmax.forward({}, rows, temperature, wide(logits).data(), y64.data());
  const Buffer<T> x(backend, logits), y(backend, logits.size());
  table.softmax.forward({}, rows, temperature, x.get(), y.get());
  const double noise = backend.arithmetic.softmax(rows.classes, 2 * range / temperature);
  CHECK(holds(backend, y.values(), y64, [&](std::size_t i) { return noise * y64[i]; }));
  if (backend.forward_only) return;
  // From the backend's own y, so that its rounding is no part of this.
  const std::vector<double> given = y.wide();
  const Buffer<T> dy(backend, gradient), dx(backend, logits.size());
  oracle().softmax.backward({}, rows, temperature, given.data(), wide(gradient).data(), dx64.data());
  table.softmax.backward({}, rows, temperature, y.get(), dy.get(), dx.get());
  const double mean_noise = backend.arithmetic.mean_over_classes(rows.classes);
  CHECK(holds(backend, dx.values(), dx64, [&](std::size_t i) { return mean_noise * given[i] / temperature; }));
}

inline void equals_the_oracle(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode& mode) {
      for (const auto& [rows, work] : kRowsShapes) {
        if (!mode.affords(work)) continue;
        for (const double temperature : {0.5, 1.0, 20.0}) check<T>(backend, table, rows, 8, temperature);
        check<T>(backend, table, rows, 30, 4);
        check<T>(backend, table, rows, 100, 0.5);
      }
    });
  });
}

inline void not_finite(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode&) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> logits = uniform(3 * 21, 3);
        logits[21 + 20] = bad;
        const Buffer<T> x(backend, as<T>(logits)), y(backend, logits.size());
        table.softmax.forward({}, {3, 21}, 1, x.get(), y.get());
        const std::vector<double> found = y.wide();
        CHECK(std::isnan(found[41]));
        CHECK(std::isfinite(found[20]));
        CHECK(std::isfinite(found[42]));
      }
    });
  });
}

}  // namespace softmax_cases

/// What NVIDIA's libraries promise too.
inline const std::vector<Case> kSoftmaxRealCases = {
    {"forward and backward equal the oracle for logits up to 100", softmax_cases::equals_the_oracle},
};
inline const std::vector<Case> kSoftmaxCases = {
    kSoftmaxRealCases[0],
    {"NaN and infinite logits give NaN rows, and their neighbours are untouched", softmax_cases::not_finite},
};

}  // namespace retort::test
