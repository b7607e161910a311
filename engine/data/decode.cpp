// Decoding by stb_image, and the checks that it leaves out: it takes a file that was cut short for one with black pixels.
#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>

#include <zlib.h>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "engine/data/pnm.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#include <stb_image.h>

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// What is wrong with a file's content; decode_image adds the file's name and the way out.
using Fault = std::string;

bool starts_with(Bytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

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

/// Walks the segments up to the first scan (ITU T.81, annex B), for four colours that only Adobe's marker explains. stb_image
/// itself refuses a JPEG without its end marker.
Fault jpeg_fault(Bytes bytes) {
  bool adobe = false;
  std::uint32_t components = 0, adobe_transform = 0;
  for (std::size_t at = 2; at + 4 <= bytes.size() && bytes[at] == 0xFF;) {
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xFF) {  // padding
      ++at;
      continue;
    }
    if (marker == 0xDA) break;
    const std::size_t length = big_endian(bytes, at + 2, 2), end = at + 2 + length;
    if (length < 2 || end > bytes.size()) return "a truncated JPEG";
    const bool frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame && length >= 8) components = bytes[at + 9];
    if (marker == 0xEE && length >= 14 && std::memcmp(&bytes[at + 4], "Adobe", 5) == 0) {
      adobe = true;
      adobe_transform = bytes[at + 15];
    }
    at = end;
  }
  if (components == 4 && (!adobe || adobe_transform == 1)) return "a CMYK JPEG without Adobe's marker";
  return "";
}

/// Walks the chunks: every checksum must hold, and the last chunk must be IEND.
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

/// The pixels of an uncompressed bitmap must all be there.
Fault bmp_fault(Bytes bytes) {
  if (bytes.size() < 30) return "a truncated BMP";
  const std::uint32_t offset = little_endian(bytes, 10, 4), header = little_endian(bytes, 14, 4);
  const bool old = header == 12;  // OS/2: 16-bit sizes
  const std::int64_t width = old ? little_endian(bytes, 18, 2) : static_cast<std::int32_t>(little_endian(bytes, 18, 4));
  const std::int64_t height = old ? little_endian(bytes, 20, 2) : static_cast<std::int32_t>(little_endian(bytes, 22, 4));
  const std::int64_t bits = little_endian(bytes, old ? 24 : 28, 2);
  const std::int64_t row = (width * bits + 31) / 32 * 4;
  if (width < 0 || row > INT_MAX) return "a corrupt BMP";
  if (offset + row * std::abs(height) > static_cast<std::int64_t>(bytes.size())) return "a truncated BMP";
  return "";
}

/// Walks the blocks up to the end of the first frame.
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

/// Keeps the colour of 1, 2, 3 or 4 interleaved channels, each sample mapped to 8 bits.
template <class T, class ToByte>
Image without_alpha(const T* samples, int width, int height, int channels, ToByte to_byte) {
  Image image{width, height, channels <= 2 ? 1 : 3, {}};
  const std::int64_t pixels = image.width * image.height;
  image.pixels.resize(static_cast<std::size_t>(pixels * image.channels));
  std::uint8_t* out = image.pixels.data();
  for (std::int64_t i = 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < image.channels; ++c) *out++ = to_byte(samples[i * channels + c]);
  return image;
}

template <class T>
using Decoded = std::unique_ptr<T, decltype([](T* samples) { stbi_image_free(samples); })>;

Fault decode_by_stb(Bytes bytes, bool deep, Image& image) {
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), size, &width, &height, &channels))
    return text("a damaged header (", stbi_failure_reason(), ")");
  if (std::int64_t{width} * height > kLargestImage) return text(width, " x ", height, " pixels, more than 2^27");
  if (deep) {
    const Decoded<stbi_us> samples(stbi_load_16_from_memory(bytes.data(), size, &width, &height, &channels, 0));
    if (!samples) return text("damaged content (", stbi_failure_reason(), ")");
    image = without_alpha(samples.get(), width, height, channels,
                          [](stbi_us v) { return static_cast<std::uint8_t>((v * 255u + 32767u) / 65535u); });
  } else {
    const Decoded<stbi_uc> samples(stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 0));
    if (!samples) return text("damaged content (", stbi_failure_reason(), ")");
    image = without_alpha(samples.get(), width, height, channels, [](stbi_uc v) { return v; });
  }
  return "";
}

Fault decode(Bytes bytes, Image& image) {
  if (bytes.empty()) return "an empty file";
  if (bytes.size() > INT_MAX) return "more than 2 GiB";
  Fault fault;
  bool deep = false;
  if (starts_with(bytes, "\xFF\xD8\xFF")) {
    fault = jpeg_fault(bytes);
  } else if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) {
    fault = png_fault(bytes);
    deep = bytes.size() > 24 && bytes[24] == 16;
  } else if (starts_with(bytes, "BM")) {
    fault = bmp_fault(bytes);
  } else if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) {
    fault = gif_fault(bytes);
  } else if (bytes.size() >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6') {
    return decode_pnm(bytes, image);
  } else {
    return "no JPEG, PNG, BMP, PPM, PGM or GIF content";
  }
  return fault.empty() ? decode_by_stb(bytes, deep, image) : fault;
}

}  // namespace

Image decode_image(std::span<const std::uint8_t> bytes, const std::string& file) {
  Image image;
  const Fault fault = decode(bytes, image);
  check(fault.empty(), file, ": can't be decoded: ", fault, "; replace or remove the file, or pass --skip-bad");
  return image;
}

}  // namespace retort
