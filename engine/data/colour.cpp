#include "engine/data/colour.h"

#include <algorithm>

namespace retort {
namespace {

float clamped(float value) { return std::clamp(value, 0.0f, 255.0f); }

}  // namespace

void scale_brightness(std::span<float> samples, double factor) {
  for (float& sample : samples) sample = clamped(sample * static_cast<float>(factor));
}

void scale_contrast(std::span<float> samples, std::int64_t channels, double factor) {
  const auto pixels = static_cast<std::int64_t>(samples.size()) / channels;
  double sum = 0;
  for (std::int64_t i = 0; i < pixels; ++i) sum += channels == 3 ? luma(&samples[i * 3]) : samples[i];
  const float mean = static_cast<float>(sum / static_cast<double>(pixels)), scale = static_cast<float>(factor);
  for (float& sample : samples) sample = clamped(mean + scale * (sample - mean));
}

void scale_saturation(std::span<float> samples, std::int64_t channels, double factor) {
  if (channels != 3) return;
  const float scale = static_cast<float>(factor);
  for (std::size_t i = 0; i < samples.size(); i += 3) {
    const float base = luma(&samples[i]);
    for (std::size_t c = i; c < i + 3; ++c) samples[c] = clamped(base + scale * (samples[c] - base));
  }
}

}  // namespace retort
