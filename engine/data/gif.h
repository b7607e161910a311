// GIF (87a and 89a; www.w3.org/Graphics/GIF/spec-gif89a.txt), the first frame. Ours, because stb_image takes nine bytes
// a pixel for a canvas of any size, goes on decoding what lies beyond the frame, a file cut short for one with black
// pixels, and colours that the palette lacks for black. For this folder's own files.
#pragma once

#include <cstdint>
#include <span>

#include "engine/data/image.h"
#include "engine/data/image_check.h"

namespace retort {

/// GIF87a or GIF89a.
bool is_gif(std::span<const std::uint8_t> bytes);
/// The first frame on its canvas, in 3 channels: around it the background's colour, black where that is colour 0;
/// transparent pixels are black. What follows the frame is not looked at, and may be missing. A frame of more pixels
/// than its data give is a fault, and so is a canvas of more than kFreePixels beside those.
Fault decode_gif(std::span<const std::uint8_t> bytes, Image& image);

}  // namespace retort
