#include "engine/io/half.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace retort;

TEST_CASE("every f16 survives the way to float and back") {
  for (int bits = 0; bits < 1 << 16; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = from_half(half);
    if (std::isnan(value))
      CHECK(std::isnan(from_half(to_half(value))));
    else if (to_half(value) != half)
      FAIL("bits ", bits, " come back as ", to_half(value));
  }
}

TEST_CASE("a float goes to the nearest f16, and of two to the even one") {
  // Midpoints between neighbours, and the floats on either side of them.
  for (int bits = 0; bits < 0x7bff; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits), high = static_cast<std::uint16_t>(bits + 1);
    const float middle = (from_half(low) + from_half(high)) / 2;
    const bool right = to_half(middle) == (bits % 2 == 0 ? low : high) &&
                       to_half(std::nextafter(middle, 0.0f)) == low && to_half(std::nextafter(middle, 1e9f)) == high &&
                       to_half(-middle) == (to_half(middle) | 0x8000);
    if (!right) FAIL("around ", middle);
  }
  CHECK(to_half(65519.0f) == 0x7bff);
  CHECK(to_half(65520.0f) == 0x7c00);
  CHECK(to_half(-1e30f) == 0xfc00);
  CHECK(to_half(1e-10f) == 0);
}
