#include "engine/data/image_check.h"

#include <array>
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

}  // namespace

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

Fault index_png(Bytes bytes, std::vector<std::uint8_t>& indexed, std::vector<std::uint8_t>& palette) {
  std::array<std::uint8_t, 12 + 768> identity{0, 0, 3, 0, 'P', 'L', 'T', 'E'};
  for (std::size_t i = 0; i < 768; ++i) identity[8 + i] = static_cast<std::uint8_t>(i / 3);
  const auto append = [&](Bytes part) { indexed.insert(indexed.end(), part.begin(), part.end()); };
  indexed.reserve(bytes.size() + identity.size());
  append(bytes.first(8));
  for (std::size_t at = 8; at + 12 <= bytes.size();) {  // which png_fault has walked
    const std::size_t length = big_endian(bytes, at, 4);
    const auto is = [&](const char* type) { return std::memcmp(&bytes[at + 4], type, 4) == 0; };
    if (is("PLTE")) {
      if (!palette.empty() || length % 3 != 0 || length < 3 || length > 768)
        return "a corrupt PNG (its palette is wrong)";
      palette.assign(&bytes[at + 8], &bytes[at + 8] + length);
      append(identity);
    } else if (!is("tRNS")) {  // transparency of a palette's colours, which is dropped
      append(bytes.subspan(at, length + 12));
    }
    if (is("IEND")) break;
    at += length + 12;
  }
  return palette.empty() ? "a PNG without its palette" : "";
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
