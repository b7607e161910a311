// Checks of an image file's structure before stb_image decodes it: stb_image takes a BMP that was cut short
// for one with black pixels, ignores PNG's checksums, and trusts a JPEG to define the tables and a palette to have the
// colours that it uses. For this folder's own files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// What is wrong with a file's content, "" if nothing is. decode_image adds the file's name and the way out.
using Fault = std::string;

/// Walks the segments to the end marker (ITU T.81, annex B): all must be there, one frame, at most 128 scans, which
/// bring every component and find every table that they use, sound tables, and four components only with Adobe's
/// marker, which says what they mean.
Fault jpeg_fault(std::span<const std::uint8_t> bytes);
/// Walks the chunks: every checksum must hold, the last chunk must be IEND, and the pixels no more than their data can
/// give.
Fault png_fault(std::span<const std::uint8_t> bytes);
/// Of a PNG with a palette that png_fault let pass: the same file with a palette of 256 greys, grey i being entry i, so
/// that its pixels decode to their indices; and its own palette, three bytes a colour.
Fault index_png(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& indexed,
                std::vector<std::uint8_t>& palette);
/// The pixels of an uncompressed bitmap must all be there.
Fault bmp_fault(std::span<const std::uint8_t> bytes);

}  // namespace retort
