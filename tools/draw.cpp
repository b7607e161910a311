#include "tools/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/io/file.h"
#include "engine/io/png.h"

namespace retort {
namespace {

using Colour = std::array<double, 3>;

enum Shape2d { circle, cross, ring, triangle };

/// Is (x, y), in the shape's own frame with radius 1, inside it?
bool inside(Shape2d shape, double x, double y) {
  const double radius = std::hypot(x, y);
  switch (shape) {
    case circle: return radius < 0.9;
    case cross: return std::max(std::abs(x), std::abs(y)) < 0.95 && std::min(std::abs(x), std::abs(y)) < 0.28;
    case ring: return radius < 0.95 && radius > 0.55;
    case triangle: return y > -0.5 && std::sqrt(3.0) * std::abs(x) + y < 1;
  }
  return false;
}

Colour random_colour(Random& random, double low, double high) {
  return {random.uniform(low, high), random.uniform(low, high), random.uniform(low, high)};
}

}  // namespace

const std::vector<std::string>& shape_names() {
  static const std::vector<std::string> names = {"circle", "cross", "ring", "triangle"};
  return names;
}

Image draw_shape(std::int64_t shape, std::int64_t size, std::uint64_t seed, std::uint64_t number) {
  Random random = Random::of(seed, "draw", number, shape_names().at(shape));
  const Colour ground_a = random_colour(random, 0, 110), ground_b = random_colour(random, 0, 110);
  const Colour ink = random_colour(random, 130, 255);
  const double radius = random.uniform(0.28, 0.45) * size;
  const double x0 = random.uniform(radius, size - radius), y0 = random.uniform(radius, size - radius);
  const double turn = random.uniform(-0.3, 0.3), c = std::cos(turn), s = std::sin(turn);
  const double slope = random.uniform(0, 2 * std::numbers::pi);

  Image image{size, size, 3, std::vector<std::uint8_t>(size * size * 3)};
  constexpr int kSamples = 3;  // a side: smooth edges
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      int covered = 0;
      for (int i = 0; i < kSamples * kSamples; ++i) {
        const double dx = x + (i % kSamples + 0.5) / kSamples - x0, dy = y + (i / kSamples + 0.5) / kSamples - y0;
        covered += inside(static_cast<Shape2d>(shape), (c * dx + s * dy) / radius, (c * dy - s * dx) / radius);
      }
      const double cover = covered / double(kSamples * kSamples);
      const double along =
          0.5 + ((x - size / 2.0) * std::cos(slope) + (y - size / 2.0) * std::sin(slope)) / (1.5 * size);
      const double grain = 10 * random.normal();
      for (int channel = 0; channel < 3; ++channel) {
        const double ground = ground_a[channel] + along * (ground_b[channel] - ground_a[channel]);
        const double value = ground + cover * (ink[channel] - ground) + grain;
        image.pixels[(y * size + x) * 3 + channel] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
      }
    }
  }
  return image;
}

void draw_dataset(const std::string& folder, std::int64_t train_per_class, std::int64_t val_per_class,
                  std::int64_t size, std::uint64_t seed) {
  for (std::size_t shape = 0; shape < shape_names().size(); ++shape) {
    for (std::int64_t i = 0; i < train_per_class + val_per_class; ++i) {
      const Image image = draw_shape(shape, size, seed, i);
      char name[32];
      const bool train = i < train_per_class;
      std::snprintf(name, sizeof name, "/%04lld.png", static_cast<long long>(train ? i + 1 : i + 1 - train_per_class));
      write_atomic(folder + (train ? "/train/" : "/val/") + shape_names()[shape] + name, encode_png(image));
    }
  }
}

}  // namespace retort
