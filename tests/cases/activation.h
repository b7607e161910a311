// Activations beyond ReLU and their gradients on any backend.
#pragma once

#include <cmath>
#include <limits>

#include "tests/cases/backend.h"

namespace retort::test {
namespace activation_cases {

inline constexpr Activation kActivations[] = {{ActivationKind::affine, -1.5, 0.25},
                                              {ActivationKind::clip, 0, 6},
                                              {ActivationKind::clip, -1.03, 0.77},
                                              {ActivationKind::sigmoid},
                                              {ActivationKind::silu},
                                              {ActivationKind::hard_sigmoid, 0.2, 0.5},
                                              {ActivationKind::hard_swish},
                                              {ActivationKind::leaky_relu, 0.1},
                                              {ActivationKind::gelu},
                                              {ActivationKind::gelu_tanh},
                                              {ActivationKind::erf},
                                              {ActivationKind::tanh}};

/// Every one goes through an exponential, or one like it, of an argument that float holds with half a unit of |x|^3 at
/// most (gelu_tanh), and a handful of roundings; none is steeper than 1.2.
inline double noise(double x) { return 16 * epsilon32 * (1 + std::fabs(x)); }

template <class T>
void check(const Backend& backend, const ActivationKernels& kernel, const Activation& f, std::int64_t n, double range) {
  CAPTURE(static_cast<int>(f.kind));
  CAPTURE(n);
  CAPTURE(range);
  const std::vector<T> x = as<T>(uniform(n, 1, -range, range)), dy = as<T>(uniform(n, 2));
  const std::vector<double> x64 = wide(x);
  std::vector<double> y64 = blank<double>(n), dx64 = y64;
  oracle().activation.forward({}, f, n, x64.data(), y64.data());
  oracle().activation.backward({}, f, n, x64.data(), wide(dy).data(), dx64.data());
  const Buffer<T> in(backend, x), gradient(backend, dy), y(backend, x.size()), dx(backend, x.size());
  kernel.forward({}, f, n, in.get(), y.get());
  kernel.backward({}, f, n, in.get(), gradient.get(), dx.get());
  const auto near = [&](std::size_t i) { return noise(x64[i]); };
  CHECK(holds(backend, y.values(), y64, near));
  CHECK(holds(backend, dx.values(), dx64, near));
  kernel.backward({}, f, n, in.get(), gradient.get(), gradient.get());  // in place
  CHECK(count_different(gradient.wide(), dx.wide()) == 0);
}

inline void equals_the_oracle(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for_each_mode(backend, [&](const Mode& mode) {
      for (const Activation& f : kActivations)
        for (const std::int64_t n : {1, 7, 17, 1003})
          if (n < 1000 || mode.affords(Work::usual))
            for (const double range : {2.0, 12.0}) check<decltype(zero)>(backend, table.activation, f, n, range);
    });
  });
}

inline void far_away(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const std::vector<T> x = as<T>(std::vector<float>{-1e4f, 1e4f, -88, 88, -110, 110, 0});
    for_each_mode(backend, [&](const Mode&) {
      for (const Activation& f : kActivations) {
        CAPTURE(static_cast<int>(f.kind));
        std::vector<double> y64 = blank<double>(7);
        oracle().activation.forward({}, f, 7, wide(x).data(), y64.data());
        const Buffer<T> in(backend, x), y(backend, x.size());
        table.activation.forward({}, f, 7, in.get(), y.get());
        CHECK(holds(backend, y.values(), y64, [&](std::size_t i) { return noise(wide(x)[i]) * 1e-2; }));
      }
    });
  });
}

inline void not_a_number(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    std::vector<float> values = uniform(19, 3);
    values[5] = values[18] = std::numeric_limits<float>::quiet_NaN();
    for_each_mode(backend, [&](const Mode&) {
      for (const Activation& f : kActivations) {
        CAPTURE(static_cast<int>(f.kind));
        const Buffer<T> in(backend, as<T>(values)), y(backend, values.size());
        table.activation.forward({}, f, 19, in.get(), y.get());
        const std::vector<double> found = y.wide();
        for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::isnan(found[i]) == (i == 5 || i == 18));
      }
    });
  });
}

}  // namespace activation_cases

inline const std::vector<Case> kActivationCases = {
    {"values and gradients equal the oracle", activation_cases::equals_the_oracle},
    {"far from 0 they approach what they should", activation_cases::far_away},
    {"NaN stays NaN", activation_cases::not_a_number},
};

}  // namespace retort::test
