// The CPU's backends under test: the fast one at every instruction set with 1, 2 and 3 threads, and the reference in
// float.
#pragma once

#include "tests/cases/backend.h"
#include "tests/kernels/cpu_settings.h"

namespace retort::test {

/// Averages add rows, then columns. Softmax works in double: an exponent carries a rounding or two. Losses add their
/// exponentials in float.
inline const Arithmetic kCpuArithmetic = {
    .float_rows = float_rows,
    .window_roundings = [](std::int64_t h, std::int64_t w) { return h + w; },
    .softmax = [](std::int64_t, double argument) { return (2 * argument + 8) * epsilon64; },
    .mean_over_classes = [](std::int64_t classes) { return static_cast<double>(classes + 4) * epsilon64; },
    .softmax_in_loss = [](std::int64_t classes, double) { return exponential_sum_noise(classes); },
    .of_the_largest = true};

/// Everything is computed in double and rounded to float once; an average's division is the second rounding.
inline const Arithmetic kReferenceArithmetic = {
    .float_rows = 1,
    .window_roundings = [](std::int64_t, std::int64_t) -> std::int64_t { return 2; },
    .softmax = kCpuArithmetic.softmax,
    .mean_over_classes = kCpuArithmetic.mean_over_classes,
    .softmax_in_loss =
        [](std::int64_t classes, double argument) {
          return (static_cast<double>(classes) + 2 * argument + 8) * epsilon64;
        }};

/// Threads change seldom: to start them takes longer than a small kernel.
inline void in_every_cpu_setting(const std::function<void(const Mode&)>& check) {
  const SimdLevel level_before = simd_level();
  const int threads_before = num_threads();
  for (int threads = 1; threads <= 3; ++threads) {
    set_num_threads(threads);
    for (const SimdLevel level : available_levels()) {
      set_simd_level(level);
      const bool slow = level == SimdLevel::plain && threads != 2;
      check({.name = simd_name(level) + (" " + std::to_string(threads)) + " threads",
             .group = static_cast<int>(level),
             .work = slow ? Work::usual : Work::much});
    }
  }
  set_simd_level(level_before);
  set_num_threads(threads_before);
}

inline std::vector<Backend> cpu_backends() {
  return {{.name = "cpu",
           .memory = Device::cpu,
           .f32 = &kernels_for(Device::cpu, DType::f32),
           .bf16 = &kernels_for(Device::cpu, DType::bf16),
           .arithmetic = kCpuArithmetic,
           .in_every_mode = in_every_cpu_setting,
           .work = Work::much},
          {.name = "reference",
           .memory = Device::cpu,
           .f32 = &kernels_for(Device::reference, DType::f32),
           .arithmetic = kReferenceArithmetic,
           .in_every_mode = [](const auto& check) { check({.name = "loops"}); }}};
}

}  // namespace retort::test
