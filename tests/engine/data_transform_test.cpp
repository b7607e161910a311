#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "engine/core/check.h"
#include "engine/data/transform.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"
#include "tests/tolerance.h"

using namespace retort;
using namespace retort::test;

namespace {

const Preprocessing kColour{4, 3, {0, 0, 0}, {1, 1, 1}};

std::vector<float> rendered(const Image& image, const View& view, const Preprocessing& to) {
  std::vector<float> out(static_cast<std::size_t>(to.image_size * to.image_size * to.channels));
  render(image, view, to, out.data());
  return out;
}

bool near(double found, double expected) {
  return std::abs(found - expected) <= 8 * epsilon32 * (1 + std::abs(expected));
}

}  // namespace

TEST_CASE("parse_augmentation knows its words") {
  CHECK_FALSE(parse_augmentation("none").any());
  const Augmentation both = parse_augmentation("flip,jitter");
  CHECK(both.flip);
  CHECK(both.jitter);
  CHECK_FALSE(both.crop);
  CHECK(parse_augmentation("crop").crop);
  CHECK_THROWS_AS(parse_augmentation("flip,rotate"), UsageError);
  CHECK(error_message([] { parse_augmentation("flip,rotate"); }) ==
        "--augment: unknown 'rotate'; give none, or some of flip,crop,jitter,erase,randaugment");
  CHECK_THROWS_AS(parse_augmentation(""), UsageError);
  CHECK_THROWS_AS(parse_augmentation("none,flip"), UsageError);
}

TEST_CASE("centre_view is the largest centred square") {
  const View wide = centre_view(pattern(9, 4, 3)), tall = centre_view(pattern(4, 9, 1));
  CHECK(wide.box.x == 2);
  CHECK(wide.box.y == 0);
  CHECK(wide.box.width == 4);
  CHECK(wide.box.height == 4);
  CHECK(tall.box.x == 0);
  CHECK(tall.box.y == 2);
  CHECK_FALSE(wide.flip);
}

TEST_CASE("draw_view depends on seed, view and name alone") {
  const Image image = pattern(100, 80, 3);
  const Augmentation all{true, true, true};
  const View first = draw_view(image, all, 1, 2, "a.jpg"), again = draw_view(image, all, 1, 2, "a.jpg");
  CHECK(first.box.x == again.box.x);
  CHECK(first.box.width == again.box.width);
  CHECK(first.contrast == again.contrast);
  for (const View& other : {draw_view(image, all, 2, 2, "a.jpg"), draw_view(image, all, 1, 3, "a.jpg"),
                            draw_view(image, all, 1, 2, "b.jpg")})
    CHECK(other.contrast != first.contrast);
}

TEST_CASE("draw_view crops a photo within its area and aspect, anywhere inside") {
  const Image image = pattern(100, 80, 3);
  int flips = 0;
  std::set<double> lefts;
  for (std::uint64_t view = 0; view < 500; ++view) {
    const View drawn = draw_view(image, {true, true, true}, 0, view, "a.jpg");
    const Box& box = drawn.box;
    CHECK(box.x >= 0);
    CHECK(box.y >= 0);
    CHECK(box.x + box.width <= 100);
    CHECK(box.y + box.height <= 80);
    // Sides are rounded to whole pixels, by at most a half of 40 or more.
    CHECK(box.width * box.height / 8000 > 0.34);
    CHECK(box.width / box.height > 0.75 * 0.97);
    CHECK(box.width / box.height < 1.0 / 0.75 * 1.03);
    for (const double factor : {drawn.brightness, drawn.contrast, drawn.saturation}) {
      CHECK(factor >= 0.8);
      CHECK(factor <= 1.2);
    }
    flips += drawn.flip;
    lefts.insert(box.x);
  }
  CHECK(flips > 200);  // 250 expected, standard deviation 11
  CHECK(flips < 300);
  CHECK(lefts.size() > 20);
  // No box of those shapes fits a strip: it falls back to the centre.
  CHECK(draw_view(pattern(400, 4, 3), {false, true, false}, 0, 0, "a").box.x == 198);
}

TEST_CASE("draw_view shifts small images, grey ones for jitter too") {
  std::set<double> crops, jitters;
  for (std::uint64_t view = 0; view < 400; ++view) {
    const View crop = draw_view(pattern(32, 32, 3), {false, true, false}, 0, view, "a");
    CHECK(crop.box.width == 32);
    CHECK(crop.box.height == 32);
    crops.insert(crop.box.x);
    const View jitter = draw_view(pattern(28, 28, 1), {false, false, true}, 0, view, "a");
    CHECK(jitter.brightness == 1);
    jitters.insert(jitter.box.y);
  }
  CHECK(crops == std::set<double>{-4, -3, -2, -1, 0, 1, 2, 3, 4});
  CHECK(jitters == std::set<double>{-2, -1, 0, 1, 2});
  CHECK(draw_view(pattern(32, 32, 3), {false, false, true}, 0, 0, "a").brightness != 1);
}

TEST_CASE("render normalises, mirrors and fills the outside with black") {
  const Image image = pattern(4, 4, 3);
  View view = centre_view(image);
  const Preprocessing to{4, 3, {0.5, 0.25, 0.125}, {0.5, 0.25, 2}};
  const std::vector<float> plain = rendered(image, view, to);
  for (int i = 0; i < 16; ++i)
    for (int c = 0; c < 3; ++c)
      CHECK(near(plain[i * 3 + c], (image.pixels[i * 3 + c] / 255.0 - to.mean[c]) / to.std[c]));

  view.flip = true;
  const std::vector<float> mirrored = rendered(image, view, to);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x)
      for (int c = 0; c < 3; ++c) CHECK(mirrored[(y * 4 + x) * 3 + c] == plain[(y * 4 + 3 - x) * 3 + c]);

  view.flip = false;
  view.box.x = -1;
  view.box.y = 2;
  const std::vector<float> shifted = rendered(image, view, kColour);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x) {
      const bool outside = x == 0 || y >= 2;
      const double expected = outside ? 0 : image.pixels[((y + 2) * 4 + x - 1) * 3] / 255.0;
      CHECK(near(shifted[(y * 4 + x) * 3], expected));
    }
  view.box.x = 10;  // nothing of the image is seen
  for (const float value : rendered(image, view, kColour)) CHECK(value == 0);
}

TEST_CASE("render repeats grey and reduces colour to luma") {
  const Image grey = pattern(4, 4, 1), colour = pattern(4, 4, 3);
  const std::vector<float> repeated = rendered(grey, centre_view(grey), kColour);
  for (int i = 0; i < 16; ++i)
    for (int c = 0; c < 3; ++c) CHECK(near(repeated[i * 3 + c], grey.pixels[i] / 255.0));
  const std::vector<float> luma = rendered(colour, centre_view(colour), {4, 1, {0}, {1}});
  for (int i = 0; i < 16; ++i) {
    const std::uint8_t* rgb = &colour.pixels[i * 3];
    CHECK(near(luma[i], (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255));
  }
}

TEST_CASE("render adjusts brightness, contrast and saturation") {
  Image image{2, 2, 3, {200, 100, 50, 20, 40, 60, 0, 0, 0, 255, 255, 255}};
  View view = centre_view(image);
  const Preprocessing to{2, 3, {0, 0, 0}, {1, 1, 1}};
  view.brightness = 1.2;
  CHECK(near(rendered(image, view, to)[1], 120 / 255.0));
  CHECK(near(rendered(image, view, to)[9], 1));  // clamped
  view.brightness = 1;

  view.contrast = 0.8;
  const auto luma = [&](int i) {
    return 0.299 * image.pixels[3 * i] + 0.587 * image.pixels[3 * i + 1] + 0.114 * image.pixels[3 * i + 2];
  };
  const double mean = (luma(0) + luma(1) + luma(2) + luma(3)) / 4;
  CHECK(near(rendered(image, view, to)[6], 0.2 * mean / 255));
  CHECK(near(rendered(image, view, to)[0], (mean + 0.8 * (200 - mean)) / 255));
  view.contrast = 1;

  view.saturation = 0.8;
  CHECK(near(rendered(image, view, to)[2], (luma(0) + 0.8 * (50 - luma(0))) / 255));
}

TEST_CASE("render gives two networks one crop at their own sizes") {
  const Image image = pattern(100, 80, 3);
  const View view = draw_view(image, {true, true, false}, 0, 0, "a.jpg");
  const Preprocessing small{1, 3, {0, 0, 0}, {1, 1, 1}}, large{32, 3, {0, 0, 0}, {1, 1, 1}};
  CHECK(rendered(image, view, small).size() == 3);
  CHECK(rendered(image, view, large).size() == 32 * 32 * 3);
}

TEST_CASE("render refuses a preprocessing that fits no image") {
  const Image image = pattern(4, 4, 3);
  const View view = centre_view(image);
  float out[64];
  CHECK_THROWS_AS(render(image, view, {0, 3, {0, 0, 0}, {1, 1, 1}}, out), Error);
  CHECK_THROWS_AS(render(image, view, {4, 2, {0, 0}, {1, 1}}, out), Error);
  CHECK_THROWS_AS(render(image, view, {4, 3, {0}, {1, 1, 1}}, out), Error);
  CHECK_THROWS_AS(render(image, view, {4, 3, {0, 0, 0}, {1, 0, 1}}, out), Error);
}
