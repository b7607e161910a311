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

/// Deflate gives 258 bytes for two bits at best.
constexpr double kInflation = 1032;

/// The least bytes that a PNG's rows have, by its first chunk. (Double: the sizes are any two numbers.)
double least_png_rows(Bytes bytes) {
  if (bytes.size() < 26) return 0;
  constexpr int kChannels[] = {1, 0, 3, 1, 2, 0, 4};  // of a colour type
  const std::uint8_t type = bytes[25];
  const double bits = type < std::size(kChannels) ? kChannels[type] * bytes[24] : 0;
  return static_cast<double>(big_endian(bytes, 16, 4)) * big_endian(bytes, 20, 4) * bits / 8;
}

}  // namespace

Fault png_fault(Bytes bytes) {
  std::size_t deflated = 0;
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    const std::size_t length = big_endian(bytes, at, 4);
    if (length > bytes.size() - at - 12) return "a truncated PNG";
    const std::uint32_t checksum = big_endian(bytes, at + 8 + length, 4);
    if (crc32(0, &bytes[at + 4], static_cast<uInt>(length + 4)) != checksum)
      return "a corrupt PNG (a chunk's checksum is wrong)";
    if (std::memcmp(&bytes[at + 4], "IDAT", 4) == 0) deflated += length;
    if (std::memcmp(&bytes[at + 4], "IEND", 4) == 0)
      return least_png_rows(bytes) > kInflation * static_cast<double>(deflated) ? "a truncated PNG" : "";
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

}  // namespace retort
