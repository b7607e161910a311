// The CPU's backends under test: the fast one at every instruction set with each number of threads, and the reference
// in float.
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
    .softmax_in_loss = [](std::int64_t classes,
                          double argument) { return (static_cast<double>(classes) + 2 * argument + 8) * epsilon64; }};

/// Numbers of threads under which the cases run. Under the sanitizers one that shares work: what they look for hangs on
/// shapes and instruction sets.
#ifdef RETORT_SANITIZED
inline constexpr int kThreads[] = {2};
#else
inline constexpr int kThreads[] = {1, 2, 3};
#endif

/// The fast backend at one instruction set, whose tables it has, with each number of threads.
inline Backend cpu_backend(SimdLevel level) {
  const bool slow = level == SimdLevel::plain;
  const auto with_threads = [level, slow](const std::function<void(const Mode&)>& check) {
    const SimdLevel level_before = simd_level();
    const int threads_before = num_threads();
    set_simd_level(level);
    for (const int threads : kThreads) {
      set_num_threads(threads);
      check({.name = std::to_string(threads) + " threads", .work = slow && threads != 2 ? Work::usual : Work::much});
    }
    set_simd_level(level_before);
    set_num_threads(threads_before);
  };
  const SimdLevel level_before = simd_level();
  set_simd_level(level);
  Backend backend = {.name = std::string("cpu ") + simd_name(level),
                     .memory = Device::cpu,
                     .f32 = &kernels_for(Device::cpu, DType::f32),
                     .bf16 = &kernels_for(Device::cpu, DType::bf16),
                     .arithmetic = kCpuArithmetic,
                     .in_every_mode = with_threads,
                     .work = Work::much};
  set_simd_level(level_before);
  return backend;
}

inline std::vector<Backend> cpu_backends() {
  std::vector<Backend> backends;
  for (const SimdLevel level : available_levels()) backends.push_back(cpu_backend(level));
  backends.push_back({.name = "reference",
                      .memory = Device::cpu,
                      .f32 = &kernels_for(Device::reference, DType::f32),
                      .arithmetic = kReferenceArithmetic,
                      .in_every_mode = [](const auto& check) { check({.name = "loops"}); }});
  return backends;
}

}  // namespace retort::test
