#include "engine/io/encode.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "engine/core/check.h"

namespace retort {
namespace {

/// stb_image_write's callback: `into` is the vector of bytes.
void append(void* into, void* bytes, int size) {
  auto& target = *static_cast<std::vector<std::uint8_t>*>(into);
  const auto* first = static_cast<const std::uint8_t*>(bytes);
  target.insert(target.end(), first, first + size);
}

struct Size {
  int width, height, channels;
};

Size size_of(const Image& image, const char* form) {
  check(image.width > 0 && image.height > 0, form, ": cannot encode an image of ", image.width, " x ", image.height,
        " pixels");
  return {static_cast<int>(image.width), static_cast<int>(image.height), static_cast<int>(image.channels)};
}

}  // namespace

std::vector<std::uint8_t> encode_png(const Image& image) {
  const auto [width, height, channels] = size_of(image, "png");
  std::vector<std::uint8_t> bytes;
  check(stbi_write_png_to_func(append, &bytes, width, height, channels, image.pixels.data(), width * channels) != 0,
        "png: out of memory; free some memory");
  return bytes;
}

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
  const auto [width, height, channels] = size_of(image, "jpeg");
  std::vector<std::uint8_t> bytes;
  check(stbi_write_jpg_to_func(append, &bytes, width, height, channels, image.pixels.data(), quality) != 0,
        "jpeg: out of memory; free some memory");
  return bytes;
}

}  // namespace retort
