// The orientation that a camera writes beside the pixels (EXIF 2.32, tag 0x0112). For this folder's own files.
#pragma once

#include <cstdint>
#include <span>

#include "engine/data/image.h"

namespace retort {

/// 1 to 8 as EXIF defines them, of a JPEG (APP1), a PNG (eXIf) or a WebP (EXIF) file; 1, upright, where the file says
/// nothing or nothing that makes sense.
int exif_orientation(std::span<const std::uint8_t> file);

/// The picture as a viewer shows it: rotated and mirrored so that orientation 1 results.
Image upright(Image image, int orientation);

}  // namespace retort
