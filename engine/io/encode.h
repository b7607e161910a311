// Images as files.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// The bytes of a PNG of 1 or 3 channels, 8 bits each, without loss. Throws Error for an image without pixels.
std::vector<std::uint8_t> encode_png(const Image& image);
/// The bytes of a baseline JPEG; quality is 1 to 100, chroma has half the resolution up to 90. Throws as encode_png.
std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality);

}  // namespace retort
