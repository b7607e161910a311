#include <doctest/doctest.h>

#include <cmath>
#include <span>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "tests/engine/data_files.h"
#include "tests/engine/data_fixtures.h"
#include "tests/error_message.h"
#include "tests/tolerance.h"

using namespace retort;
using namespace retort::test;

namespace {

void check_equal(const std::vector<float>& found, std::span<const float> expected, std::int64_t taps) {
  REQUIRE(found.size() == expected.size());
  // Two passes of weighted means of samples up to 255, then Pillow's result rounded to float once.
  const double tolerance = 2 * dot_tolerance(taps, 255);
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK_FALSE(!(std::abs(found[i] - expected[i]) <= tolerance));
  }
}

}  // namespace

TEST_CASE("resize agrees with Pillow when it shrinks, grows and reads a fractional box") {
  check_equal(resize(pattern(23, 17, 3), {0, 0, 23, 17}, 5, 4), kShrunk, 12);
  check_equal(resize(pattern(4, 3, 3), {0, 0, 4, 3}, 7, 5), kGrown, 3);
  check_equal(resize(pattern(23, 17, 1), {2.5, 1.25, 17.25, 12.75}, 6, 3), kBoxed, 12);
}

TEST_CASE("resize to the same size copies") {
  const Image image = pattern(9, 6, 3);
  const std::vector<float> same = resize(image, {0, 0, 9, 6}, 9, 6);
  REQUIRE(same.size() == image.pixels.size());
  for (std::size_t i = 0; i < same.size(); ++i) CHECK(same[i] == image.pixels[i]);
  const std::vector<float> part = resize(image, {2, 1, 3, 2}, 3, 2);
  for (int y = 0; y < 2; ++y)
    for (int i = 0; i < 9; ++i) CHECK(part[y * 9 + i] == image.pixels[(y + 1) * 27 + 6 + i]);
}

TEST_CASE("resize does not alias: a fine checkerboard turns grey") {
  Image board{64, 64, 1, {}};
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x) board.pixels.push_back((x + y) % 2 ? 255 : 0);
  // Inside, the triangle weighs both colours alike; at the border the filter is cut, which tells them apart by less
  // than one step of 255, where point sampling would give 0 or 255.
  for (const float value : resize(board, {0, 0, 64, 64}, 8, 8)) CHECK_FALSE(!(std::abs(value - 127.5f) <= 1.0f));
}

TEST_CASE("resize works from and to one pixel") {
  CHECK(resize(pattern(1, 1, 3), {0, 0, 1, 1}, 2, 2) == std::vector<float>{0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58});
  CHECK(resize(pattern(30, 20, 1), {0, 0, 30, 20}, 1, 1).size() == 1);
}

TEST_CASE("resize mirrors: the same bits from right to left") {
  for (const std::int64_t channels : {1, 3}) {
    const Image image = pattern(23, 17, channels);
    const Box box{2.5, 1.25, 17.25, 12.75};
    const std::vector<float> plain = resize(image, box, 6, 3);
    std::vector<float> mirrored(plain.size());
    resize(image, box, 6, 3, /*mirrored=*/true, mirrored.data());
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 6; ++x)
        for (int c = 0; c < channels; ++c)
          CHECK(mirrored[(y * 6 + x) * channels + c] == plain[(y * 6 + 5 - x) * channels + c]);
  }
}

TEST_CASE("resize refuses a box outside the image and empty sizes") {
  const Image image = pattern(4, 4, 1);
  CHECK_THROWS_AS(resize(image, {1, 0, 4, 4}, 2, 2), Error);
  CHECK_THROWS_AS(resize(image, {-0.5, 0, 2, 2}, 2, 2), Error);
  CHECK_THROWS_AS(resize(image, {0, 0, 0, 4}, 2, 2), Error);
  CHECK_THROWS_AS(resize(image, {0, 0, 4, NAN}, 2, 2), Error);
  CHECK_THROWS_AS(resize(image, {0, 0, 4, 4}, 0, 2), Error);
}
