// Decoding by stb_image, all but PNM, GIF, WebP and what has a palette.
#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/core/check.h"
#include "engine/data/bounded_memory.h"
#include "engine/data/exif.h"
#include "engine/data/gif.h"
#include "engine/data/image.h"
#include "engine/data/image_check.h"
#include "engine/data/indexed_bmp.h"
#include "engine/data/pnm.h"
#include "engine/data/webp.h"
#include "engine/io/file.h"

// stb_image reads some of its memory without having written it, and allocates what a file asks for.
#define STBI_MALLOC(bytes) retort::decoder::allocate(bytes)
#define STBI_REALLOC(memory, bytes) retort::decoder::reallocate(memory, bytes)
#define STBI_FREE(memory) retort::decoder::release(memory)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ASSERT(condition)  // its assertions fail on corrupt files, and are followed by ordinary checks
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#include <stb_image.h>

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool starts_with(Bytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

/// An image without pixels yet, for samples in 1 to 4 interleaved channels, of which the last of 2 or 4 is alpha.
Image empty_image(int width, int height, int channels) { return {width, height, channels <= 2 ? 1 : 3, {}}; }

/// Rounds samples of 16 bits to 8 and drops alpha.
Image from_deep(const stbi_us* samples, int width, int height, int channels) {
  Image image = empty_image(width, height, channels);
  image.pixels.reserve(static_cast<std::size_t>(image.width * image.height * image.channels));
  for (std::int64_t i = 0; i < image.width * image.height; ++i)
    for (std::int64_t c = 0; c < image.channels; ++c)
      image.pixels.push_back(static_cast<std::uint8_t>((samples[i * channels + c] * 255u + 32767u) / 65535u));
  return image;
}

/// Drops alpha.
Image from_bytes(const stbi_uc* samples, int width, int height, int channels) {
  Image image = empty_image(width, height, channels);
  const std::int64_t pixels = image.width * image.height;
  if (image.channels == channels) {
    image.pixels.assign(samples, samples + pixels * channels);
    return image;
  }
  image.pixels.resize(static_cast<std::size_t>(pixels * image.channels));
  std::uint8_t* out = image.pixels.data();
  const std::int64_t last = pixels - 1;
  // A pixel is moved as a word; the sample beyond is overwritten by the next pixel.
  if (channels == 4)
    for (std::int64_t i = 0; i < last; ++i) std::memcpy(out + 3 * i, samples + 4 * i, 4);
  for (std::int64_t i = channels == 4 ? last : 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < image.channels; ++c) out[i * image.channels + c] = samples[i * channels + c];
  return image;
}

template <class T>
using Decoded = std::unique_ptr<T, decltype([](T* samples) { stbi_image_free(samples); })>;

enum class Form { jpeg, deep_png, other };

/// What decoding a picture may take, beside the picture: a fixed part, and for each pixel what the greediest sound file
/// needs (a progressive JPEG of four components: coefficients, planes and the result); never more than kMaxDecodeBytes.
std::size_t budget_for(std::int64_t pixels) {
  constexpr std::size_t kFixed = 16 << 20, kPerPixel = 32;
  return std::min<std::size_t>(kFixed + kPerPixel * static_cast<std::size_t>(pixels), kMaxDecodeBytes);
}

Fault decode_by_stb(Bytes bytes, Form form, Image& image) {
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  decoder::budget() = {budget_for(0), false};
  if (!stbi_info_from_memory(bytes.data(), size, &width, &height, &channels))
    return text("a damaged header (", stbi_failure_reason(), ")");
  if (width < 1 || height < 1) return "a picture without pixels";
  if (std::int64_t{width} * height > kLargestImage) return text(width, " x ", height, " pixels, more than 2^27");
  decoder::budget() = {budget_for(std::int64_t{width} * height), false};
  const auto damaged = [&]() -> Fault {
    if (decoder::budget().exceeded)
      return text(width, " x ", height, " pixels that take more than ", budget_for(std::int64_t{width} * height) >> 20,
                  " MiB to decode");
    return text("damaged content (", stbi_failure_reason(), ")");
  };
  if (form == Form::deep_png) {
    const Decoded<stbi_us> samples(stbi_load_16_from_memory(bytes.data(), size, &width, &height, &channels, 0));
    if (!samples) return damaged();
    image = from_deep(samples.get(), width, height, channels);
  } else {
    // stb_image converts a JPEG's colours with vectors only where it may write an alpha channel too; to the same bits.
    const int wanted = form == Form::jpeg && channels == 3 ? 4 : 0;
    const Decoded<stbi_uc> samples(stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, wanted));
    if (!samples) return damaged();
    image = from_bytes(samples.get(), width, height, wanted == 0 ? channels : wanted);
  }
  return "";
}

/// Looks the indices up that an image's greys are.
Fault look_up(Image& image, Bytes palette) {
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    const std::size_t colour = 3 * std::size_t{image.pixels[i]};
    if (colour >= palette.size())
      return text("a pixel of colour ", colour / 3, " where its palette has ", palette.size() / 3);
    std::memcpy(&image.pixels[i], &palette[colour], 3);
  }
  return "";
}

Fault decode_indexed_png(Bytes bytes, Image& image) {
  std::vector<std::uint8_t> indexed, palette;
  Fault fault = index_png(bytes, indexed, palette);
  if (fault.empty()) fault = decode_by_stb(indexed, Form::other, image);
  if (fault.empty() && image.channels != 3) fault = "a corrupt PNG";
  return fault.empty() ? look_up(image, palette) : fault;
}

constexpr const char* kTooLarge = "more than 1 GiB";

Fault decode(Bytes bytes, Image& image) {
  if (bytes.empty()) return "an empty file";
  if (bytes.size() > kMaxPictureBytes) return kTooLarge;
  Fault fault;
  Form form = Form::other;
  if (starts_with(bytes, "\xFF\xD8\xFF")) {
    fault = jpeg_fault(bytes);
    form = Form::jpeg;
  } else if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) {
    fault = png_fault(bytes);
    if (fault.empty() && bytes.size() > 25 && bytes[25] == 3) return decode_indexed_png(bytes, image);
    if (bytes.size() > 24 && bytes[24] == 16) form = Form::deep_png;
  } else if (starts_with(bytes, "BM")) {
    fault = bmp_fault(bytes);
    if (fault.empty() && is_indexed_bmp(bytes)) return decode_indexed_bmp(bytes, image);
  } else if (is_gif(bytes)) {
    return decode_gif(bytes, image);
  } else if (bytes.size() >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6') {
    return decode_pnm(bytes, image);
  } else if (is_webp(bytes)) {
    return decode_webp(bytes, image);
  } else {
    return "no JPEG, PNG, BMP, PPM, PGM, GIF or WebP content";
  }
  return fault.empty() ? decode_by_stb(bytes, form, image) : fault;
}

}  // namespace

namespace {

void check_decoded(const Fault& fault, const std::string& file) {
  check(fault.empty(), file, ": can't be decoded: ", fault, "; replace or remove the file, or pass --skip-bad");
}

}  // namespace

std::vector<std::uint8_t> read_picture(const std::string& file) {
  const InputFile input(file);
  check_decoded(input.size() > kMaxPictureBytes ? kTooLarge : "", file);
  std::vector<std::uint8_t> bytes(input.size());
  input.read(0, bytes);
  return bytes;
}

Image decode_image(std::span<const std::uint8_t> bytes, const std::string& file) {
  Image image;
  check_decoded(decode(bytes, image), file);
  return upright(std::move(image), exif_orientation(bytes));
}

}  // namespace retort
