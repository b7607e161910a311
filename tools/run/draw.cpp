#include "tools/run/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/io/encode.h"
#include "engine/io/file.h"

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

/// Adds smooth noise: random values on a lattice of `cell` pixels, blended between its points.
void add_octave(std::vector<double>& plane, std::int64_t width, std::int64_t height, double cell, double amplitude,
                Random& random) {
  const auto columns = static_cast<std::int64_t>(static_cast<double>(width) / cell) + 2;
  const auto rows = static_cast<std::int64_t>(static_cast<double>(height) / cell) + 2;
  std::vector<double> lattice(columns * rows);
  for (double& value : lattice) value = random.uniform(-amplitude, amplitude);
  const auto smooth = [](double t) { return t * t * (3 - 2 * t); };
  for (std::int64_t y = 0; y < height; ++y) {
    const double v = static_cast<double>(y) / cell;
    const double* above = &lattice[static_cast<std::int64_t>(v) * columns];
    const double* below = above + columns;
    const double down = smooth(v - std::floor(v));
    for (std::int64_t x = 0; x < width; ++x) {
      const double u = static_cast<double>(x) / cell, right = smooth(u - std::floor(u));
      const auto i = static_cast<std::int64_t>(u);
      const double top = above[i] + right * (above[i + 1] - above[i]);
      const double bottom = below[i] + right * (below[i + 1] - below[i]);
      plane[y * width + x] += top + down * (bottom - top);
    }
  }
}

void write_picture(const std::string& folder, std::int64_t number, const Image& image) {
  char name[32];
  std::snprintf(name, sizeof name, "/%04lld.png", static_cast<long long>(number));
  write_atomic(folder + name, encode_png(image));
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
        const int column = i % kSamples, row = i / kSamples;
        const double dx = x + (column + 0.5) / kSamples - x0, dy = y + (row + 0.5) / kSamples - y0;
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

Image draw_photo(std::int64_t width, std::int64_t height, std::uint64_t seed, std::uint64_t number) {
  Random random = Random::of(seed, "photo", number);
  // Brightness has all octaves; the two differences of colour only the coarse ones, as in photos.
  std::vector<double> planes[3];
  for (int p = 0; p < 3; ++p) {
    planes[p].assign(width * height, p == 0 ? random.uniform(90, 160) : 0);
    for (double cell = 256; cell >= (p == 0 ? 2 : 16); cell /= 2)
      add_octave(planes[p], width, height, cell, (p == 0 ? 90 : 45) * std::pow(cell / 256, 0.6), random);
  }
  for (int i = 0; i < 24; ++i) {
    const double x0 = random.uniform(0, width), y0 = random.uniform(0, height), radius = random.uniform(8, 90);
    const double turn = random.uniform(0, 2 * std::numbers::pi), c = std::cos(turn), s = std::sin(turn);
    const auto shape = static_cast<Shape2d>(random.below(shape_names().size()));
    const Colour shift = random_colour(random, -70, 70);
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        const double dx = (x - x0) / radius, dy = (y - y0) / radius;
        if (dx * dx + dy * dy > 4 || !inside(shape, c * dx + s * dy, c * dy - s * dx)) continue;
        for (int p = 0; p < 3; ++p) planes[p][y * width + x] += (p == 0 ? 1 : 0.3) * shift[p];
      }
  }
  Image image{width, height, 3, std::vector<std::uint8_t>(width * height * 3)};
  for (std::int64_t i = 0; i < width * height; ++i) {
    const double luma = planes[0][i] + 2 * random.normal(), red = planes[1][i], blue = planes[2][i];
    const double rgb[] = {luma + red, luma - 0.5 * red - 0.2 * blue, luma + blue};
    for (int channel = 0; channel < 3; ++channel)
      image.pixels[i * 3 + channel] = static_cast<std::uint8_t>(std::clamp(rgb[channel], 0.0, 255.0));
  }
  return image;
}

void draw_class_folders(const std::string& folder, Drawn drawn, std::int64_t size, std::uint64_t seed) {
  for (std::size_t shape = 0; shape < shape_names().size(); ++shape)
    for (std::int64_t i = 0; i < drawn.count; ++i)
      write_picture(folder + "/" + shape_names()[shape], i + 1, draw_shape(shape, size, seed, drawn.first + i));
}

void draw_pile(const std::string& folder, Drawn drawn, std::int64_t size, std::uint64_t seed) {
  const auto shapes = static_cast<std::int64_t>(shape_names().size());
  for (std::int64_t i = 0; i < drawn.count * shapes; ++i)
    write_picture(folder, i + 1, draw_shape(i % shapes, size, seed, drawn.first + i / shapes));
}

}  // namespace retort
