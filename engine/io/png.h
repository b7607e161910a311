// Images as PNG files.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// The bytes of a PNG of 1 or 3 channels, 8 bits each, without loss. Throws Error for an image without pixels.
std::vector<std::uint8_t> encode_png(const Image& image);

}  // namespace retort
