#include "engine/data/image_check.h"

#include <climits>
#include <cstdlib>
#include <cstring>

#include <zlib.h>

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint32_t big_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[at + i];
  return value;
}

std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= std::uint32_t{bytes[at + i]} << 8 * i;
  return value;
}

/// Adds up the Huffman tables of a DHT segment: no table may name more than 256 symbols (ITU T.81, section B.2.4.2).
bool sound_huffman_tables(Bytes tables) {
  while (!tables.empty()) {
    if (tables.size() < 17) return false;
    std::size_t symbols = 0;
    for (int length = 1; length <= 16; ++length) symbols += tables[length];
    if (symbols > 256 || tables.size() < 17 + symbols) return false;
    tables = tables.subspan(17 + symbols);
  }
  return true;
}

}  // namespace

Fault jpeg_fault(Bytes bytes) {
  bool adobe = false, tables = false;
  std::uint32_t components = 0, adobe_transform = 0;
  for (std::size_t at = 2;;) {
    // On to the next marker: past a scan's entropy-coded data with its stuffed zeros and restart markers, past padding.
    for (;; ++at) {
      const void* const found = at < bytes.size() ? std::memchr(&bytes[at], 0xFF, bytes.size() - at) : nullptr;
      if (found == nullptr) return "a truncated JPEG";
      at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes.data());
      if (at + 1 >= bytes.size()) return "a truncated JPEG";
      const std::uint8_t after = bytes[at + 1];
      if (after != 0 && after != 0xFF && (after < 0xD0 || after > 0xD7)) break;
    }
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xD9) break;
    if (at + 4 > bytes.size()) return "a truncated JPEG";
    const std::size_t length = big_endian(bytes, at + 2, 2), end = at + 2 + length;
    if (length < 2 || end > bytes.size()) return "a truncated JPEG";
    const bool frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame && length >= 8) components = bytes[at + 9];
    if (marker == 0xC4) {
      tables = true;
      if (!sound_huffman_tables(bytes.subspan(at + 4, length - 2))) return "a corrupt JPEG (a Huffman table is wrong)";
    }
    if (marker == 0xDA && !tables) return "a corrupt JPEG (no Huffman table)";
    if (marker == 0xEE && length >= 14 && std::memcmp(&bytes[at + 4], "Adobe", 5) == 0) {
      adobe = true;
      adobe_transform = bytes[at + 15];
    }
    at = end;
  }
  if (components == 4 && (!adobe || adobe_transform == 1)) return "a CMYK JPEG without Adobe's marker";
  return "";
}

Fault png_fault(Bytes bytes) {
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    const std::size_t length = big_endian(bytes, at, 4);
    if (length > bytes.size() - at - 12) return "a truncated PNG";
    const std::uint32_t checksum = big_endian(bytes, at + 8 + length, 4);
    if (crc32(0, &bytes[at + 4], static_cast<uInt>(length + 4)) != checksum)
      return "a corrupt PNG (a chunk's checksum is wrong)";
    if (std::memcmp(&bytes[at + 4], "IEND", 4) == 0) return "";
    at += length + 12;
  }
  return "a truncated PNG";
}

Fault bmp_fault(Bytes bytes) {
  if (bytes.size() < 30) return "a truncated BMP";
  const std::uint32_t offset = little_endian(bytes, 10, 4), header = little_endian(bytes, 14, 4);
  const bool old = header == 12;  // OS/2: 16-bit sizes
  const std::int64_t width = old ? little_endian(bytes, 18, 2) : static_cast<std::int32_t>(little_endian(bytes, 18, 4));
  const std::int64_t height =
      old ? little_endian(bytes, 20, 2) : static_cast<std::int32_t>(little_endian(bytes, 22, 4));
  const std::int64_t bits = little_endian(bytes, old ? 24 : 28, 2);
  const std::int64_t row = (width * bits + 31) / 32 * 4;
  if (width < 0 || row > INT_MAX) return "a corrupt BMP";
  if (offset + row * std::abs(height) > static_cast<std::int64_t>(bytes.size())) return "a truncated BMP";
  return "";
}

Fault gif_fault(Bytes bytes) {
  const auto table_bytes = [](std::uint8_t flags) { return flags & 0x80 ? std::size_t{3} << ((flags & 7) + 1) : 0; };
  if (bytes.size() < 13) return "a truncated GIF";
  std::size_t at = 13 + table_bytes(bytes[10]);
  bool frame = false;
  while (!frame) {
    if (at + 10 > bytes.size()) return "a truncated GIF";
    const std::uint8_t block = bytes[at];
    if (block != 0x21 && block != 0x2C) return "a GIF without a frame";
    frame = block == 0x2C;
    at += frame ? 10 + table_bytes(bytes[at + 9]) + 1 : 2;
    while (at < bytes.size() && bytes[at] != 0) at += std::size_t{bytes[at]} + 1;
    if (at >= bytes.size()) return "a truncated GIF";
    ++at;
  }
  return "";
}

}  // namespace retort
