// Rows of unit length on any backend.
#pragma once

#include <cmath>
#include <limits>

#include "tests/cases/backend.h"
#include "tests/cases/rows_shapes.h"

namespace retort::test {
namespace normalize_cases {

template <class T>
void check(const Backend& backend, const KernelTable& table, Rows rows, double size) {
  CAPTURE(rows.rows);
  CAPTURE(rows.classes);
  CAPTURE(size);
  using P = ParameterOf<T>;
  const std::int64_t n = rows.rows * rows.classes;
  const std::vector<T> values = as<T>(uniform(n, 1, -size, size)), gradient = as<T>(uniform(n, 2));
  std::vector<double> y64 = blank<double>(n), inverse64 = blank<double>(rows.rows), dx64 = y64;
  oracle().normalize.forward({}, rows, wide(values).data(), y64.data(), inverse64.data());
  const Buffer<T> x(backend, values), y(backend, values.size());
  const Buffer<P> inverse(backend, inverse64.size());
  table.normalize.forward({}, rows, x.get(), y.get(), inverse.get());
  // A sum of k squares in float errs by k / 2 roundings of itself (tolerance.h), the root by half of that; the root,
  // the quotient and the product round once each.
  const auto terms = static_cast<double>(rows.classes + 8);
  const double noise = (terms / 4 + 4) * epsilon32;
  CHECK(worst(inverse.wide(), inverse64, [&](std::size_t i) { return noise * inverse64[i]; }) <= 1);
  CHECK(holds(backend, y.values(), y64, [&](std::size_t i) { return noise * std::fabs(y64[i]); }));

  // From the backend's own y and lengths, so that their rounding is no part of this.
  const std::vector<double> given = y.wide(), by = inverse.wide();
  const Buffer<T> dy(backend, gradient), dx(backend, values.size());
  oracle().normalize.backward({}, rows, given.data(), by.data(), wide(gradient).data(), dx64.data());
  table.normalize.backward({}, rows, y.get(), inverse.get(), dy.get(), dx.get());
  CHECK(holds(backend, dx.values(), dx64, [&](std::size_t i) {
    // |dy| <= 1, and the elements of a row of unit length add up to sqrt(k) at most.
    const double along = std::sqrt(static_cast<double>(rows.classes)), share = std::fabs(given[i]);
    return by[i / static_cast<std::size_t>(rows.classes)] * epsilon32 * (share * along * (terms / 2 + 4) + 4);
  }));
}

inline void equals_the_oracle(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode& mode) {
      for (const auto& [rows, work] : kRowsShapes) {
        if (!mode.affords(work)) continue;
        check<T>(backend, table, rows, 1);
        check<T>(backend, table, rows, 1e4);
      }
    });
  });
}

inline void zeros_and_not_finite(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    using P = ParameterOf<T>;
    for_each_mode(backend, [&](const Mode&) {
      std::vector<float> values = uniform(3 * 21, 3);
      std::fill_n(values.begin(), 21, 0.0f);
      values[21 + 20] = std::numeric_limits<float>::quiet_NaN();
      const Buffer<T> x(backend, as<T>(values)), y(backend, values.size());
      const Buffer<P> inverse(backend, 3);
      table.normalize.forward({}, {3, 21}, x.get(), y.get(), inverse.get());
      const std::vector<double> found = y.wide();
      CHECK(found[0] == 0);
      CHECK(found[20] == 0);
      CHECK(std::isnan(found[21]));
      CHECK(std::isfinite(found[42]));
    });
  });
}

}  // namespace normalize_cases

inline const std::vector<Case> kNormalizeCases = {
    {"short and long rows, forward and backward, equal the oracle", normalize_cases::equals_the_oracle},
    {"a row of zeros stays one, NaN gives a NaN row, and its neighbours are untouched",
     normalize_cases::zeros_and_not_finite},
};

}  // namespace retort::test
