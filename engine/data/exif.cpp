#include "engine/data/exif.h"

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/data/webp.h"

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint32_t kOrientationTag = 0x0112, kShort = 3;

bool starts_with(Bytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

/// An unsigned number of `width` bytes at `at`; nothing beyond the end.
std::optional<std::uint32_t> number_at(Bytes bytes, std::size_t at, std::size_t width, bool little) {
  if (at > bytes.size() || bytes.size() - at < width) return {};
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | bytes[at + (little ? width - 1 - i : i)];
  return value;
}

/// A TIFF header and its first directory.
int orientation_of_tiff(Bytes tiff) {
  const bool little = starts_with(tiff, std::string_view("II*\0", 4));
  if (!little && !starts_with(tiff, std::string_view("MM\0*", 4))) return 1;
  const auto directory = number_at(tiff, 4, 4, little);
  if (!directory) return 1;
  const auto entries = number_at(tiff, *directory, 2, little);
  for (std::size_t i = 0; entries && i < *entries; ++i) {
    const std::size_t entry = *directory + 2 + 12 * i;
    const auto tag = number_at(tiff, entry, 2, little), type = number_at(tiff, entry + 2, 2, little);
    const auto value = number_at(tiff, entry + 8, 2, little);
    if (!tag || !type || !value) return 1;
    if (*tag == kOrientationTag) return *type == kShort && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

/// The EXIF segment before a JPEG's first scan.
int orientation_of_jpeg(Bytes file) {
  constexpr std::uint32_t kApp1 = 0xFFE1, kStartOfScan = 0xFFDA, kFirstSegment = 0xFFC0;
  for (std::size_t at = 2;;) {
    const auto marker = number_at(file, at, 2, false), length = number_at(file, at + 2, 2, false);
    if (!marker || !length || *marker < kFirstSegment || *marker == kStartOfScan || *length < 2) return 1;
    if (file.size() - at - 2 < *length) return 1;
    const Bytes content = file.subspan(at + 4, *length - 2);
    if (*marker == kApp1 && starts_with(content, std::string_view("Exif\0\0", 6)))
      return orientation_of_tiff(content.subspan(6));
    at += 2 + *length;
  }
}

/// The content of the first chunk of that type, `first` bytes into the file: a PNG's chunks are length, type, content,
/// checksum; a RIFF's type, length, content, to an even length.
Bytes chunk(Bytes file, std::string_view type, std::size_t first, bool png) {
  for (std::size_t at = first;;) {
    const auto length = number_at(file, at + (png ? 0 : 4), 4, !png);
    if (!length || file.size() < at + 8 || file.size() - at - 8 < *length) return {};
    if (starts_with(file.subspan(at + (png ? 4 : 0)), type)) return file.subspan(at + 8, *length);
    at += 8 + std::size_t{*length} + (png ? 4 : *length % 2);
  }
}

}  // namespace

int exif_orientation(Bytes file) {
  if (starts_with(file, "\xFF\xD8\xFF")) return orientation_of_jpeg(file);
  if (starts_with(file, "\x89PNG\r\n\x1A\n")) return orientation_of_tiff(chunk(file, "eXIf", 8, /*png=*/true));
  if (is_webp(file)) {
    const Bytes exif = chunk(file, "EXIF", 12, /*png=*/false);
    const std::string_view header("Exif\0\0", 6);  // some writers keep JPEG's
    return orientation_of_tiff(starts_with(exif, header) ? exif.subspan(header.size()) : exif);
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Where the stored pixel (x, y) of a w x h image belongs: 2 mirrored, 3 upside down, 4 flipped, 5 to 8 with rows and
  // columns exchanged.
  const bool exchanged = orientation >= 5;
  const std::int64_t w = image.width, h = image.height;
  Image turned{exchanged ? h : w, exchanged ? w : h, image.channels, {}};
  turned.pixels.resize(image.pixels.size());
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      const bool mirrored_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
      const bool mirrored_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
      std::int64_t to_x = mirrored_x ? w - 1 - x : x, to_y = mirrored_y ? h - 1 - y : y;
      if (exchanged) std::swap(to_x, to_y);
      std::memcpy(&turned.pixels[static_cast<std::size_t>((to_y * turned.width + to_x) * image.channels)],
                  &image.pixels[static_cast<std::size_t>((y * w + x) * image.channels)],
                  static_cast<std::size_t>(image.channels));
    }
  return turned;
}

}  // namespace retort
