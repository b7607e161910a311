// Windows of images, and products with factors of channels, on any backend.
#pragma once

#include "tests/cases/backend.h"

namespace retort::test {
namespace spatial_cases {

// Padding and cropping on every side, both at once, one channel and one more than a vector, an empty overlap.
inline constexpr WindowGeometry kWindows[] = {{2, 3, 4, 5, 5, 6, 1, 1, 0},   {1, 5, 5, 17, 6, 6, 0, 0, -2.5},
                                              {2, 6, 7, 3, 3, 3, -1, -2, 0}, {1, 4, 4, 1, 4, 5, 1, -1, 0.25},
                                              {1, 2, 2, 3, 3, 3, 7, 0, 1},   {1, 3, 3, 2, 1, 1, -2, -2, 0}};

inline void windows(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const WindowGeometry& g : kWindows) {
      const std::vector<T> x = as<T>(uniform(g.n * g.h * g.w * g.c, 1));
      std::vector<double> expected = blank<double>(g.n * g.p * g.q * g.c);
      oracle().spatial.window({}, g, wide(x).data(), expected.data());
      for_each_mode(backend, [&](const Mode&) {
        const Buffer<T> in(backend, x), y(backend, expected.size());
        table.spatial.window({}, g, in.get(), y.get());
        CHECK(count_different(y.wide(), expected) == 0);
      });
    }
  });
}

inline constexpr FactorGeometry kFactors[] = {{1, 1, 1}, {2, 1, 17}, {2, 49, 3}, {3, 9, 33}, {1, 130, 8}};

inline void factors(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const FactorGeometry& g : kFactors) {
      CAPTURE(g.pixels);
      CAPTURE(g.channels);
      const std::int64_t n = g.n * g.pixels * g.channels;
      const std::vector<T> x = as<T>(uniform(n, 1)), s = as<T>(uniform(g.n * g.channels, 2)), b = as<T>(uniform(n, 3));
      std::vector<double> y64 = blank<double>(n), added64 = y64, sum64 = blank<double>(g.n * g.channels);
      oracle().spatial.multiply({}, g, wide(x).data(), wide(s).data(), y64.data());
      oracle().spatial.add({}, g, wide(x).data(), wide(s).data(), added64.data());
      oracle().spatial.multiply_sum({}, g, wide(x).data(), wide(b).data(), sum64.data());
      for_each_mode(backend, [&](const Mode&) {
        const Buffer<T> in(backend, x), factor(backend, s), other(backend, b), y(backend, x.size()),
            sum(backend, s.size());
        table.spatial.multiply({}, g, in.get(), factor.get(), y.get());
        CHECK(holds(backend, y.values(), y64, exact));
        table.spatial.add({}, g, in.get(), factor.get(), y.get());
        CHECK(holds(backend, y.values(), added64, exact));
        table.spatial.multiply_sum({}, g, in.get(), other.get(), sum.get());
        // At most 64 terms are added in float before a double takes over; each is below 1.
        const double noise = dot_tolerance(std::min<std::int64_t>(g.pixels, 64), static_cast<double>(g.pixels));
        CHECK(holds(backend, sum.values(), sum64, [&](std::size_t) { return noise; }));
      });
    }
  });
}

}  // namespace spatial_cases

inline const std::vector<Case> kSpatialCases = {
    {"windows pad, crop and fill", spatial_cases::windows},
    {"factors and summands of channels, and sums of products over pixels", spatial_cases::factors},
};

}  // namespace retort::test
