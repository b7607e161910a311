// Runs a check under every instruction set that this machine has, with 1, 2 and 3 threads.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "kernels/cpu/simd.h"
#include "kernels/table.h"

namespace retort::test {

template <class Check>
void for_each_cpu_setting(Check check) {
  const SimdLevel level_before = simd_level();
  const int threads_before = num_threads();
  for (const SimdLevel level :
       {SimdLevel::plain, SimdLevel::neon, SimdLevel::avx2, SimdLevel::avx512, SimdLevel::avx512_bf16}) {
    if (!simd_available(level)) continue;
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

}  // namespace retort::test
