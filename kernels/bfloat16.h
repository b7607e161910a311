// bfloat16: the upper half of a float. Storage only; arithmetic is done in float.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_HOST_DEVICE
#endif

namespace retort {

struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN (quiet). On a GPU that is one instruction, which drops a NaN's
  /// payload.
  RETORT_HOST_DEVICE explicit BFloat16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    bits = rounded(value);
#endif
  }
  /// Likewise to the bits of a host, a NaN's payload included.
  RETORT_HOST_DEVICE static BFloat16 with_payload(float value) {
    BFloat16 result;
    result.bits = rounded(value);
    return result;
  }
  RETORT_HOST_DEVICE operator float() const {
    const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
  }

 private:
  RETORT_HOST_DEVICE static std::uint16_t rounded(float value) {
    std::uint32_t word;
    memcpy(&word, &value, sizeof word);
    const bool nan = (word & 0x7FFFFFFFu) > 0x7F800000u;
    return static_cast<std::uint16_t>(nan ? word >> 16 | 0x40u : (word + 0x7FFFu + (word >> 16 & 1u)) >> 16);
  }
};

}  // namespace retort
