// Bitmaps with a palette: stb_image takes a colour that the palette lacks from memory that it never wrote, and OS/2's
// palettes for shorter than they are.
#pragma once

#include "engine/data/image.h"
#include "engine/data/image_check.h"

namespace retort {

/// Of a file that bmp_fault let pass: 1, 4 or 8 bits a pixel, not compressed.
bool is_indexed_bmp(std::span<const std::uint8_t> bytes);
/// Decodes it to RGB. An index beyond the palette is a fault.
Fault decode_indexed_bmp(std::span<const std::uint8_t> bytes, Image& image);

}  // namespace retort
