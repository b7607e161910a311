// Runs a check under every instruction set that this machine has, with 1, 2 and 3 threads.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/cpu/simd/simd.h"
#include "kernels/table.h"
#include "kernels/threads.h"
#include "tests/tolerance.h"

namespace retort::test {

/// The instruction sets that this machine has.
inline std::vector<SimdLevel> available_levels() {
  std::vector<SimdLevel> levels;
  for (const SimdLevel level :
       {SimdLevel::plain, SimdLevel::neon, SimdLevel::avx2, SimdLevel::avx512, SimdLevel::avx512_bf16})
    if (simd_available(level)) levels.push_back(level);
  return levels;
}

template <class Check>
void for_each_cpu_setting(Check check) {
  const SimdLevel level_before = simd_level();
  const int threads_before = num_threads();
  for (const SimdLevel level : available_levels()) {
    set_simd_level(level);
    for (int threads = 1; threads <= 3; ++threads) {
      set_num_threads(threads);
      CAPTURE(std::string(simd_name(level)));
      CAPTURE(threads);
      check();
    }
  }
  set_simd_level(level_before);
  set_num_threads(threads_before);
}

/// Bound on what a softmax over the classes loses in float at the present instruction set, relative to its largest
/// element: an exponential is good to 2 units and its argument to one of its own size, |x| exp(x) <= 0.37; a lane adds
/// its share of the classes one by one.
inline double exponential_sum_noise(std::int64_t classes) {
  const std::int64_t lanes = simd_level() >= SimdLevel::avx512 ? 16
                             : simd_level() == SimdLevel::avx2 ? 8
                             : simd_level() == SimdLevel::neon ? 4
                                                               : 1;
  const std::int64_t in_a_lane = (classes + lanes - 1) / lanes;
  return epsilon32 * (4 + static_cast<double>(in_a_lane) / 2);
}

}  // namespace retort::test
