// RandAugment's operations by hand, random erasing, and what they are drawn from.
#include "engine/data/rand_augment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/check.h"
#include "engine/data/transform.h"
#include "tests/engine/data_files.h"

using namespace retort;
using namespace retort::test;

namespace {

using Kind = ImageOperationKind;

/// A grey picture of side 3 after one operation.
std::vector<float> done(Kind kind, double amount, std::vector<float> samples, std::int64_t channels = 1) {
  apply_operation({kind, amount},
                  std::llround(std::sqrt(static_cast<double>(samples.size()) / static_cast<double>(channels))),
                  channels, samples);
  return samples;
}

const std::vector<float> kNine = {10, 20, 30, 40, 50, 60, 70, 80, 90};

bool near(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b, [](float x, float y) { return std::abs(x - y) <= 1e-3f; });
}

const Augmentation kErase{.erase = true}, kRand{.randaugment = true};
const Preprocessing kPlain{40, 3, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}};

}  // namespace

TEST_CASE("operations: geometry by hand, with black moving in") {
  CHECK(near(done(Kind::translate_x, 1.0 / 3, kNine), {0, 10, 20, 0, 40, 50, 0, 70, 80}));
  CHECK(near(done(Kind::translate_y, -1.0 / 3, kNine), {40, 50, 60, 70, 80, 90, 0, 0, 0}));
  CHECK(near(done(Kind::translate_x, 0.5 / 3, kNine), {5, 15, 25, 20, 45, 55, 35, 75, 85}));
  CHECK(near(done(Kind::shear_x, 1, kNine), {20, 30, 0, 40, 50, 60, 0, 70, 80}));
  CHECK(near(done(Kind::shear_y, 1, kNine), {40, 20, 0, 70, 50, 30, 0, 80, 60}));
  CHECK(near(done(Kind::rotate, 90, kNine), {70, 40, 10, 80, 50, 20, 90, 60, 30}));
  CHECK(near(done(Kind::rotate, -90, kNine), {30, 60, 90, 20, 50, 80, 10, 40, 70}));
  CHECK(near(done(Kind::rotate, 0, kNine), kNine));
  // Two channels' worth of pixels keep apart.
  CHECK(near(done(Kind::translate_x, 0.5, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3),
             {0, 0, 0, 1, 2, 3, 0, 0, 0, 7, 8, 9}));
}

TEST_CASE("operations: colour by hand") {
  CHECK(done(Kind::identity, 0, kNine) == kNine);
  CHECK(near(done(Kind::brightness, 0.5, {10, 200, 0, 100}), {15, 255, 0, 150}));
  CHECK(near(done(Kind::contrast, -0.5, {0, 100, 100, 200}), {50, 100, 100, 150}));
  CHECK(near(done(Kind::posterize, 4, {0, 15, 16, 255}), {0, 0, 16, 240}));
  CHECK(near(done(Kind::posterize, 1.2, {0, 1, 2, 255}), {0, 0, 2, 254}));
  CHECK(near(done(Kind::solarize, 0.5, {0, 127, 128, 255}), {0, 127, 127, 0}));
  CHECK(near(done(Kind::autocontrast, 0, {50, 100, 75, 50}), {0, 255, 127.5, 0}));
  CHECK(near(done(Kind::autocontrast, 0, {7, 7, 7, 7}), {7, 7, 7, 7}));
  const std::vector<float> grey = done(Kind::saturation, -1, {100, 50, 200}, 3);
  for (const float sample : grey) CHECK(sample == doctest::Approx(0.299 * 100 + 0.587 * 50 + 0.114 * 200));
  CHECK(near(done(Kind::saturation, 0.9, {100}), {100}));
}

TEST_CASE("draw_operations: all kinds, within their ranges, of both signs where there are two") {
  std::set<Kind> kinds;
  bool negative = false;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Random random(i);
    const auto drawn = draw_operations(random, 2, 0.3);
    REQUIRE(drawn.size() == 2);
    for (const auto& [kind, amount] : drawn) {
      kinds.insert(kind);
      negative |= amount < 0;
      const double most = kind == Kind::rotate ? 9 : kind == Kind::posterize ? 1.2 : 0.3;
      CHECK(std::abs(amount) <= most + 1e-12);
      if (kind == Kind::posterize || kind == Kind::solarize) CHECK(amount > 0);
    }
  }
  CHECK(kinds.size() == kImageOperations);
  CHECK(negative);
}

TEST_CASE("erasing: one picture in four, a box of 2% to a third, 0 after normalisation, the same places at each size") {
  const Image image = pattern(100, 80, 3);
  int erased = 0;
  for (std::uint64_t view = 0; view < 400; ++view) {
    const View drawn = draw_view(image, kErase, 3, view, "a.jpg");
    CHECK(drawn.box.width == centre_view(image).box.width);
    if (!drawn.erased) continue;
    ++erased;
    const Box& box = *drawn.erased;
    CHECK(box.width * box.height >= 0.02 - 1e-12);
    CHECK(box.width * box.height <= 1.0 / 3 + 1e-12);
    CHECK(std::min({box.x, box.y, 1 - box.x - box.width, 1 - box.y - box.height}) >= 0);
    if (erased > 20) continue;
    for (const std::int64_t side : {40, 64}) {
      Preprocessing to = kPlain;
      to.image_size = side;
      View whole = drawn;
      whole.erased.reset();
      std::vector<float> with(static_cast<std::size_t>(side * side * 3)), without = with;
      render(image, drawn, to, with.data());
      render(image, whole, to, without.data());
      const auto edge = [&](double share) { return std::llround(share * static_cast<double>(side)); };
      for (std::int64_t y = 0; y < side; ++y)
        for (std::int64_t x = 0; x < side; ++x) {
          const bool inside =
              x >= edge(box.x) && x < edge(box.x + box.width) && y >= edge(box.y) && y < edge(box.y + box.height);
          for (std::int64_t i = (y * side + x) * 3; i < (y * side + x + 1) * 3; ++i)
            if (with[i] != (inside ? 0 : without[i])) FAIL("pixel " << x << ", " << y << " of " << side);
        }
    }
  }
  CHECK(std::abs(erased - 100) <= 5 * std::sqrt(400 * 0.25 * 0.75));
}

TEST_CASE("new augmentations: drawn from seed, view and name, behind the older ones") {
  const Image image = pattern(100, 80, 3);
  const Augmentation older{.flip = true, .crop = true, .jitter = true};
  Augmentation all = older;
  all.erase = all.randaugment = true;
  for (std::uint64_t view = 0; view < 20; ++view) {
    const View a = draw_view(image, older, 3, view, "a.jpg"), b = draw_view(image, all, 3, view, "a.jpg");
    CHECK(a.box.x == b.box.x);
    CHECK(a.box.height == b.box.height);
    CHECK(a.flip == b.flip);
    CHECK(a.saturation == b.saturation);
    CHECK(b.operations.size() == 2);
  }
  const auto rendered = [&](std::uint64_t seed, std::uint64_t view, const char* name) {
    std::vector<float> out(40 * 40 * 3);
    for (std::uint64_t i = 0; i < 5; ++i) {  // some draws are identities
      std::vector<float> one(out.size());
      render(image, draw_view(image, kRand, seed, view + 100 * i, name), kPlain, one.data());
      for (std::size_t k = 0; k < out.size(); ++k) out[k] += one[k];
    }
    return out;
  };
  CHECK(rendered(1, 2, "a") == rendered(1, 2, "a"));
  CHECK(rendered(1, 2, "a") != rendered(2, 2, "a"));
  CHECK(rendered(1, 2, "a") != rendered(1, 3, "a"));
  CHECK(rendered(1, 2, "a") != rendered(1, 2, "b"));
}

TEST_CASE("augmentations by name, there and back") {
  for (const char* list : {"none", "flip", "erase", "randaugment", "flip,crop,jitter,erase,randaugment"})
    CHECK(format_augmentation(parse_augmentation(list)) == list);
  CHECK(parse_augmentation("erase").any());
  CHECK(parse_augmentation("randaugment").any());
  CHECK_THROWS_AS(parse_augmentation("flip,cut"), UsageError);
}
