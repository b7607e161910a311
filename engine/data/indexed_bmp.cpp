#include "engine/data/indexed_bmp.h"

#include <algorithm>
#include <cstdlib>

#include "engine/core/check.h"
#include "engine/data/pnm.h"

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= std::uint32_t{bytes[at + static_cast<std::size_t>(i)]} << 8 * i;
  return value;
}

struct Header {
  std::int64_t width, height;  ///< height below 0: rows from the top down
  std::uint32_t bits, compression;
  std::size_t pixels_at, palette_at, entry_bytes;
};

Header read_header(Bytes bytes) {
  const std::uint32_t size = little_endian(bytes, 14, 4);
  const bool old = size == 12;  // OS/2: 16-bit sizes and three bytes a colour
  Header header{};
  header.width = old ? little_endian(bytes, 18, 2) : static_cast<std::int32_t>(little_endian(bytes, 18, 4));
  header.height = old ? little_endian(bytes, 20, 2) : static_cast<std::int32_t>(little_endian(bytes, 22, 4));
  header.bits = little_endian(bytes, old ? 24 : 28, 2);
  header.compression = old || bytes.size() < 34 ? 0 : little_endian(bytes, 30, 4);
  header.pixels_at = little_endian(bytes, 10, 4);
  header.palette_at = 14 + std::size_t{size};
  header.entry_bytes = old ? 3 : 4;
  return header;
}

}  // namespace

bool is_indexed_bmp(Bytes bytes) {
  const Header header = read_header(bytes);
  return (header.bits == 1 || header.bits == 4 || header.bits == 8) && header.compression == 0;
}

Fault decode_indexed_bmp(Bytes bytes, Image& image) {
  const Header header = read_header(bytes);
  if (header.width < 1 || header.height == 0 || header.palette_at > header.pixels_at || header.pixels_at > bytes.size())
    return "a corrupt BMP";
  const std::int64_t height = std::abs(header.height);
  if (header.width * height > kLargestImage) return text(header.width, " x ", height, " pixels, more than 2^27");
  const std::size_t colours = std::min<std::size_t>((header.pixels_at - header.palette_at) / header.entry_bytes, 256);
  const auto row_bytes = static_cast<std::size_t>((header.width * header.bits + 31) / 32 * 4);
  image = {header.width, height, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(header.width * height * 3))};
  std::uint8_t* out = image.pixels.data();
  for (std::int64_t y = 0; y < height; ++y) {
    const auto stored = static_cast<std::size_t>(header.height > 0 ? height - 1 - y : y);
    const Bytes row = bytes.subspan(header.pixels_at + stored * row_bytes, row_bytes);
    for (std::size_t x = 0; x < static_cast<std::size_t>(header.width); ++x) {
      const std::size_t bit = x * header.bits;
      const std::size_t index = row[bit / 8] >> (8 - header.bits - bit % 8) & ((1u << header.bits) - 1);
      if (index >= colours) return text("a pixel of colour ", index, " where its palette has ", colours);
      const std::uint8_t* const colour = &bytes[header.palette_at + index * header.entry_bytes];  // blue, green, red
      for (int c = 0; c < 3; ++c) *out++ = colour[2 - c];
    }
  }
  return "";
}

}  // namespace retort
