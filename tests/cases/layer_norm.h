// Layer normalisation on any backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/cases/backend.h"
#include "tests/cases/rows_shapes.h"

namespace retort::test {
namespace layer_norm_cases {

/// Rows of values up to 1 about `offset`, and gradients up to 1.
template <class T>
void check(const Backend& backend, const KernelTable& table, const LayerNormGeometry& g, double offset) {
  CAPTURE(g.rows);
  CAPTURE(g.channels);
  CAPTURE(offset);
  using P = ParameterOf<T>;
  const std::int64_t n = g.rows * g.channels;
  const std::vector<T> x = as<T>(uniform(n, 1, offset - 1, offset + 1)), gradient = as<T>(uniform(n, 2));
  const std::vector<P> gamma = as<P>(uniform(g.channels, 3, 0.5, 1.5)), beta = as<P>(uniform(g.channels, 4));
  std::vector<double> y64 = blank<double>(n), mean64 = blank<double>(g.rows), r64 = mean64;
  oracle().layer_norm.forward({}, g, wide(x).data(), wide(gamma).data(), wide(beta).data(), y64.data(), mean64.data(),
                              r64.data());
  const Buffer<T> in(backend, x), y(backend, x.size()), dy(backend, gradient), dx(backend, x.size());
  const Buffer<P> scale(backend, gamma), shift(backend, beta), mean(backend, mean64.size()), r(backend, r64.size());
  table.layer_norm.forward({}, g, in.get(), scale.get(), shift.get(), y.get(), mean.get(), r.get());

  // A sum of c terms in float errs by c / 2 roundings of its terms' size (tolerance.h): of x for the mean, and of the
  // squares for the deviation, which sees the mean's error too.
  const auto terms = static_cast<double>(g.channels + 8);
  const double mean_noise = terms / 2 * epsilon32 * (std::fabs(offset) + 1);
  const auto deviation_noise = [&](double inv_std) {
    return std::min(inv_std * (inv_std * inv_std * mean_noise * mean_noise + (terms + 8) / 2 * epsilon32), 1e30);
  };
  CHECK(worst(mean.wide(), mean64, [&](std::size_t) { return mean_noise; }) <= 1);
  CHECK(worst(r.wide(), r64, [&](std::size_t i) { return deviation_noise(r64[i]); }) <= 1);
  CHECK(holds(backend, y.values(), y64, [&](std::size_t i) {
    const std::size_t row = i / static_cast<std::size_t>(g.channels);
    return 1.5 * (r64[row] * mean_noise + 2 * deviation_noise(r64[row]) + 8 * epsilon32 * (1 + 2 * r64[row]));
  }));

  // From the backend's own statistics, so that their rounding is no part of this.
  const std::vector<double> centre = mean.wide(), inv_std = r.wide();
  std::vector<double> dx64 = blank<double>(n), dgamma64 = blank<double>(g.channels), dbeta64 = dgamma64;
  oracle().layer_norm.backward_input({}, g, wide(x).data(), wide(gamma).data(), centre.data(), inv_std.data(),
                                     wide(gradient).data(), dx64.data());
  table.layer_norm.backward_input({}, g, in.get(), scale.get(), mean.get(), r.get(), dy.get(), dx.get());
  CHECK(holds(backend, dx.values(), dx64, [&](std::size_t i) {
    // |g| <= 1.5 and |h| <= 2 r + the offset's rounding: both means are sums of c such terms.
    const double s = inv_std[i / static_cast<std::size_t>(g.channels)], h = s * (2 + epsilon32 * std::fabs(offset));
    return s * 1.5 * (terms / 2 * epsilon32 * (1 + h * h) + 8 * epsilon32 * (1 + h + h * h));
  }));

  oracle().layer_norm.backward_parameters({}, g, wide(x).data(), centre.data(), inv_std.data(), wide(gradient).data(),
                                          dgamma64.data(), dbeta64.data(), nullptr);
  const Buffer<P> dgamma(backend, dgamma64.size()), dbeta(backend, dbeta64.size());
  const Buffer<char> workspace(backend, table.layer_norm.backward_parameters_workspace_bytes(g));
  table.layer_norm.backward_parameters({}, g, in.get(), mean.get(), r.get(), dy.get(), dgamma.get(), dbeta.get(),
                                       workspace.get());
  const double largest = *std::max_element(inv_std.begin(), inv_std.end()) * 2;
  const double added = static_cast<double>(g.rows) *
                       (static_cast<double>(std::min(g.rows, backend.arithmetic.float_rows)) / 2 + 4) * epsilon32;
  CHECK(worst(dbeta.wide(), dbeta64, [&](std::size_t i) { return added + epsilon32 * std::fabs(dbeta64[i]); }) <= 1);
  CHECK(worst(dgamma.wide(), dgamma64,
              [&](std::size_t i) { return added * largest + epsilon32 * std::fabs(dgamma64[i]); }) <= 1);
}

inline void equals_the_oracle(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode& mode) {
      for (const auto& [rows, work] : kRowsShapes) {
        if (!mode.affords(work)) continue;
        check<T>(backend, table, {rows.rows, rows.classes, 1e-5}, 0);
        check<T>(backend, table, {rows.rows, rows.classes, 1e-6}, 3);
      }
      // More rows than a block of the parameters' sums.
      if (mode.affords(Work::usual)) check<T>(backend, table, {130, 24, 1e-5}, 0);
    });
  });
}

inline void not_finite(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    using P = ParameterOf<T>;
    for_each_mode(backend, [&](const Mode&) {
      std::vector<float> values = uniform(3 * 21, 3);
      values[21 + 20] = std::numeric_limits<float>::quiet_NaN();
      const Buffer<T> x(backend, as<T>(values)), y(backend, values.size());
      const Buffer<P> ones(backend, std::vector<P>(21, P(1))), mean(backend, 3), r(backend, 3);
      table.layer_norm.forward({}, {3, 21, 1e-5}, x.get(), ones.get(), ones.get(), y.get(), mean.get(), r.get());
      const std::vector<double> found = y.wide();
      CHECK(std::isnan(found[21]));
      CHECK(std::isfinite(found[20]));
      CHECK(std::isfinite(found[42]));
    });
  });
}

}  // namespace layer_norm_cases

inline const std::vector<Case> kLayerNormCases = {
    {"rows about 0 and about 3, forward and both gradients, equal the oracle", layer_norm_cases::equals_the_oracle},
    {"NaN gives a NaN row, and its neighbours are untouched", layer_norm_cases::not_finite},
};

}  // namespace retort::test
