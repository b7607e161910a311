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

/// Of one picture; each of the loader's threads (four at most) decodes one at a time. A JPEG of 45 megapixels takes 280
/// MB.
inline constexpr std::size_t kMaxDecodeBytes = std::size_t{512} << 20;

/// Of a picture's file.
inline constexpr std::size_t kMaxPictureBytes = std::size_t{1} << 30;

/// Decodes JPEG, PNG, BMP, PPM/PGM, GIF (its first frame) and, where the build has libwebp, WebP, by content whatever
/// the file's name says. Samples of 16 bits are rounded to 8; palettes are looked up, alpha is dropped; grey stays one
/// channel; Adobe's CMYK and YCCK become RGB. The picture stands as a viewer shows it: EXIF's orientation is applied
/// (torchvision's ImageFolder leaves it out). Throws Error naming `file` for empty, truncated, corrupt or unknown
/// content, CMYK without Adobe's marker, more than kMaxPictureBytes, images of more than 2^27 pixels, and such as take
/// more than kMaxDecodeBytes beside the result. A call holds no more than that and the image.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& file);
/// A picture file's bytes. Throws Error as decode_image does for one of more than kMaxPictureBytes, before reading it.
std::vector<std::uint8_t> read_picture(const std::string& file);

/// A rectangle in an image, in pixels; may be fractional.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

/// Resizes a box of the image to width x height by the antialiased triangle filter (support scales with the shrinking,
/// as Pillow's and torchvision's antialias=True bilinear), mirrored left-right if so asked: `out` receives floats in
/// 0..255, interleaved, not rounded. The filter may reach beyond the box; outside the image it is cut and renormalised.
/// The same bits with every instruction set. Throws Error on a box that is empty or reaches beyond the image, and on
/// sizes below 1.
void resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height, bool mirrored, float* out);
std::vector<float> resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height);

}  // namespace retort
