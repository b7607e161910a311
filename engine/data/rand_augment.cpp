#include "engine/data/rand_augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/data/colour.h"

namespace retort {
namespace {

using Kind = ImageOperationKind;

/// The largest amount at strength 1, and whether it has a sign.
struct Range {
  double most;
  bool is_signed;
};

Range range_of(Kind kind) {
  switch (kind) {
    case Kind::shear_x:
    case Kind::shear_y: return {0.3, true};
    case Kind::translate_x:
    case Kind::translate_y: return {0.45, true};
    case Kind::rotate: return {30, true};
    case Kind::brightness:
    case Kind::contrast:
    case Kind::saturation: return {0.9, true};
    case Kind::posterize: return {4, false};
    case Kind::solarize: return {1, false};
    case Kind::identity:
    case Kind::autocontrast: return {0, false};
  }
  return {0, false};
}

/// From a place in the result to the place in the source, both measured from the centre, in pixels.
struct Affine {
  double xx = 1, xy = 0, yx = 0, yy = 1, dx = 0, dy = 0;
};

Affine inverse_of(const ImageOperation& operation, std::int64_t side) {
  const double amount = operation.amount;
  Affine map;
  switch (operation.kind) {
    case Kind::shear_x: map.xy = -amount; break;
    case Kind::shear_y: map.yx = -amount; break;
    case Kind::translate_x: map.dx = -amount * static_cast<double>(side); break;
    case Kind::translate_y: map.dy = -amount * static_cast<double>(side); break;
    default: {  // rotate
      const double angle = amount * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
      map = {c, s, -s, c, 0, 0};
    }
  }
  return map;
}

void warp(const Affine& map, std::int64_t side, std::int64_t channels, std::span<float> samples) {
  const std::vector<float> source(samples.begin(), samples.end());
  const double centre = static_cast<double>(side - 1) / 2;
  for (std::int64_t y = 0; y < side; ++y)
    for (std::int64_t x = 0; x < side; ++x) {
      const double u = static_cast<double>(x) - centre, v = static_cast<double>(y) - centre;
      const double from_x = map.xx * u + map.xy * v + map.dx + centre,
                   from_y = map.yx * u + map.yy * v + map.dy + centre;
      const double left = std::floor(from_x), top = std::floor(from_y);
      const double right_share = from_x - left, lower_share = from_y - top;
      float* const out = &samples[(y * side + x) * channels];
      std::fill_n(out, channels, 0.0f);
      for (int corner = 0; corner < 4; ++corner) {
        const std::int64_t column = static_cast<std::int64_t>(left) + corner % 2,
                           row = static_cast<std::int64_t>(top) + corner / 2;
        if (column < 0 || column >= side || row < 0 || row >= side) continue;
        const auto share = static_cast<float>((corner % 2 ? right_share : 1 - right_share) *
                                              (corner / 2 ? lower_share : 1 - lower_share));
        for (std::int64_t c = 0; c < channels; ++c) out[c] += share * source[(row * side + column) * channels + c];
      }
    }
}

void posterize(std::span<float> samples, double bits_lost) {
  const double step = std::exp2(std::round(bits_lost));
  for (float& sample : samples) sample = static_cast<float>(std::floor(sample / step) * step);
}

void solarize(std::span<float> samples, double amount) {
  const auto threshold = static_cast<float>(255 * (1 - amount));
  for (float& sample : samples)
    if (sample >= threshold) sample = 255 - sample;
}

void autocontrast(std::span<float> samples, std::int64_t channels) {
  const auto count = static_cast<std::int64_t>(samples.size());
  for (std::int64_t c = 0; c < channels; ++c) {
    float low = 255, high = 0;
    for (std::int64_t i = c; i < count; i += channels) {
      low = std::min(low, samples[i]);
      high = std::max(high, samples[i]);
    }
    if (high <= low) continue;
    for (std::int64_t i = c; i < count; i += channels)
      samples[i] = std::clamp((samples[i] - low) * (255 / (high - low)), 0.0f, 255.0f);
  }
}

}  // namespace

std::vector<ImageOperation> draw_operations(Random& random, int count, double strength) {
  std::vector<ImageOperation> operations;
  for (int i = 0; i < count; ++i) {
    const auto kind = static_cast<Kind>(random.below(kImageOperations));
    const bool negative = random.below(2) != 0;  // drawn by all, so that a kind moves no later draw
    const Range range = range_of(kind);
    operations.push_back({kind, (range.is_signed && negative ? -1 : 1) * range.most * strength});
  }
  return operations;
}

void apply_operation(const ImageOperation& operation, std::int64_t side, std::int64_t channels,
                     std::span<float> samples) {
  switch (operation.kind) {
    case Kind::identity: return;
    case Kind::brightness: return scale_brightness(samples, 1 + operation.amount);
    case Kind::contrast: return scale_contrast(samples, channels, 1 + operation.amount);
    case Kind::saturation: return scale_saturation(samples, channels, 1 + operation.amount);
    case Kind::posterize: return posterize(samples, operation.amount);
    case Kind::solarize: return solarize(samples, operation.amount);
    case Kind::autocontrast: return autocontrast(samples, channels);
    default: return warp(inverse_of(operation, side), side, channels, samples);
  }
}

}  // namespace retort
