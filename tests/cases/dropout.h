// Dropout on any backend: which elements are kept is exact.
#pragma once

#include <cmath>

#include "tests/cases/backend.h"

namespace retort::test {
namespace dropout_cases {

inline void keeps_what_the_oracle_keeps(const Backend& backend) {
  const std::vector<std::uint64_t> seed = {0x0123456789abcdefu, 0xfedcba9876540000u};
  const Buffer<std::uint64_t> there(backend, seed);
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode& mode) {
      for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 17, 1023, 20001})
        for (const double p : {0.0, 0.1, 0.3, 0.5, 0.999, 1.0})
          for (const std::uint64_t layer : {0, 5}) {
            if (!mode.affords(n > 10000 ? Work::much : n > 1000 ? Work::usual : Work::little)) continue;
            CAPTURE(n);
            CAPTURE(p);
            CAPTURE(layer);
            const std::vector<T> x = as<T>(uniform(n, 1, 0.5, 1));
            std::vector<double> expected = blank<double>(n);
            oracle().dropout.apply({}, n, p, seed.data(), layer, wide(x).data(), expected.data());
            const Buffer<T> in(backend, x), y(backend, x.size());
            table.dropout.apply({}, n, p, there.get(), layer, in.get(), y.get());
            // The factor 1 / (1 - p) is rounded to float, then the product.
            CHECK(holds(backend, y.values(), expected,
                        [&](std::size_t i) { return epsilon32 / 2 * std::fabs(expected[i]); }));
            table.dropout.apply({}, n, p, there.get(), layer, in.get(), in.get());
            CHECK(count_different(in.wide(), y.wide()) == 0);
          }
    });
  });
}

}  // namespace dropout_cases

inline const std::vector<Case> kDropoutCases = {
    {"keeps what the oracle keeps, in place too", dropout_cases::keeps_what_the_oracle_keeps}};

}  // namespace retort::test
