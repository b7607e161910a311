// Checks of an image file's structure before stb_image decodes it: stb_image takes a BMP, GIF or PNM that was cut short
// for one with black pixels, ignores PNG's checksums, and trusts the sizes of JPEG's tables. For this folder's own
// files.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace retort {

/// What is wrong with a file's content, "" if nothing is. decode_image adds the file's name and the way out.
using Fault = std::string;

/// Walks the segments to the end marker (ITU T.81, annex B): all must be there, Huffman tables of at most 256 symbols,
/// and four components only with Adobe's marker, which says what they mean.
Fault jpeg_fault(std::span<const std::uint8_t> bytes);
/// Walks the chunks: every checksum must hold, and the last chunk must be IEND.
Fault png_fault(std::span<const std::uint8_t> bytes);
/// The pixels of an uncompressed bitmap must all be there.
Fault bmp_fault(std::span<const std::uint8_t> bytes);
/// Walks the blocks to the end of the first frame. What follows is never decoded, and may be missing.
Fault gif_fault(std::span<const std::uint8_t> bytes);

}  // namespace retort
