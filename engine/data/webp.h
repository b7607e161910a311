// WebP pictures, where the build has libwebp.
#pragma once

#include <cstdint>
#include <span>

#include "engine/data/image.h"
#include "engine/data/image_check.h"

namespace retort {

/// Whether this build decodes WebP.
bool webp_supported();
/// RIFF....WEBP.
bool is_webp(std::span<const std::uint8_t> bytes);
/// The first picture of a WebP file, alpha dropped, 3 channels. Returns what is wrong with it, or "".
Fault decode_webp(std::span<const std::uint8_t> bytes, Image& image);

}  // namespace retort
