// IEEE 754's binary16, in which stores of logits and other programs' tables may be.
#pragma once

#include <cstdint>

namespace retort {

float from_half(std::uint16_t bits);
/// The nearest, of two equally near ones the even; infinity beyond 65,519.
std::uint16_t to_half(float value);

/// The largest that is finite.
inline constexpr float kMostHalf = 65504;

}  // namespace retort
