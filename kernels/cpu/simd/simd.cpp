#include "kernels/cpu/simd/simd.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace retort {
namespace {

constexpr SimdLevel kLevels[] = {SimdLevel::plain, SimdLevel::neon, SimdLevel::avx2, SimdLevel::avx512,
                                 SimdLevel::avx512_bf16};

SimdLevel choose() {
  SimdLevel best = SimdLevel::plain;
  for (const SimdLevel level : kLevels)
    if (simd_available(level)) best = level;
  if (const char* wanted = std::getenv("RETORT_SIMD"))
    for (const SimdLevel level : kLevels)
      if (std::string_view(wanted) == simd_name(level) && simd_available(level)) best = level;
  return best;
}

std::atomic<SimdLevel>& current() {
  static std::atomic<SimdLevel> level{choose()};
  return level;
}

}  // namespace

bool simd_available(SimdLevel level) {
#if defined(__x86_64__)
  switch (level) {
    case SimdLevel::plain: return true;
    case SimdLevel::neon: return false;
    case SimdLevel::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#ifdef RETORT_NO_AVX512
    case SimdLevel::avx512: return false;
#else
    case SimdLevel::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd");
#endif
    case SimdLevel::avx512_bf16: return simd_available(SimdLevel::avx512) && __builtin_cpu_supports("avx512bf16");
  }
  return false;
#elif defined(__wasm__)
  return level == SimdLevel::plain;
#else
  return level == SimdLevel::neon;
#endif
}

SimdLevel simd_level() { return current().load(std::memory_order_relaxed); }
void set_simd_level(SimdLevel level) { current().store(level, std::memory_order_relaxed); }

const char* simd_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::plain: return "plain";
    case SimdLevel::neon: return "neon";
    case SimdLevel::avx2: return "avx2";
    case SimdLevel::avx512: return "avx512";
    case SimdLevel::avx512_bf16: return "avx512_bf16";
  }
  return "";
}

}  // namespace retort
