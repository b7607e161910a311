#include "engine/io/half.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr int kFraction = 10, kBias = 15, kExponents = 31;

}  // namespace

float from_half(std::uint16_t bits) {
  const int exponent = bits >> kFraction & kExponents, fraction = bits & 1023;
  float value = exponent == 0            ? std::ldexp(static_cast<float>(fraction), -24)
                : exponent == kExponents ? (fraction ? NAN : INFINITY)
                                         : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return bits >> 15 ? -value : value;
}

std::uint16_t to_half(float value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size == 0) return sign;
  // In units of the last place, which are those of the smallest normal exponent at least; nearbyint rounds to even.
  const int exponent = std::max(std::ilogb(size), 1 - kBias);
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(size, kFraction - exponent)));
  // A fraction that rounds up to the next power of two carries into the exponent by itself.
  return static_cast<std::uint16_t>(sign + ((exponent + kBias - 1) << kFraction) + units);
}

}  // namespace retort
