// Netpbm's grey and colour maps (PGM, PPM; netpbm.sourceforge.net/doc/ppm.html), binary and plain. Ours, because
// stb_image leaves samples unscaled and accepts a file that was cut short. For this folder's own files.
#pragma once

#include <cstdint>
#include <span>

#include "engine/data/image.h"
#include "engine/data/image_check.h"

namespace retort {

constexpr std::int64_t kLargestImage = std::int64_t{1} << 27;  ///< pixels
/// Pixels that a picture may have however few bytes it takes: a single colour is a few of them.
constexpr std::int64_t kFreePixels = std::int64_t{1} << 22;

/// Decodes P2, P3, P5, P6 with any largest sample up to 65535.
Fault decode_pnm(std::span<const std::uint8_t> bytes, Image& image);

}  // namespace retort
