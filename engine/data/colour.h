// Brightness, contrast and saturation of samples in 0..255, interleaved, 1 or 3 channels; each is clamped to 0..255.
#pragma once

#include <cstdint>
#include <span>

namespace retort {

/// ITU-R BT.601.
inline float luma(const float* rgb) { return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]; }

/// Scales the samples.
void scale_brightness(std::span<float> samples, double factor);
/// Moves the samples from the mean luma of all.
void scale_contrast(std::span<float> samples, std::int64_t channels, double factor);
/// Moves the samples from their own pixel's luma; grey stays as it is.
void scale_saturation(std::span<float> samples, std::int64_t channels, double factor);

}  // namespace retort
