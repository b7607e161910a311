// A decoded image and the two things done to it: decoding and antialiased resizing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// 8-bit samples, rows top to bottom, channels interleaved: pixels[(y * width + x) * channels + c].
struct Image {
  std::int64_t width = 0, height = 0, channels = 0;  ///< channels: 1 (grey) or 3 (RGB)
  std::vector<std::uint8_t> pixels;
};

/// Decodes JPEG, PNG, BMP, PPM/PGM and GIF (its first frame), by content whatever the file's name says; 16-bit samples
/// are rounded to 8, palettes and alpha resolved (over white... as stb does: alpha dropped), grey stays one channel.
/// Throws Error naming `file` for empty, truncated, unknown or CMYK-undecodable content.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& file);

/// A rectangle in an image, in pixels; may be fractional.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

/// Resizes a box of the image to width x height by the antialiased triangle filter (support scales with the shrinking,
/// as Pillow's and torchvision's antialias=True bilinear), output float in 0..255, interleaved. Outside the image the
/// filter is cut and renormalised.
std::vector<float> resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height);

}  // namespace retort
