#include "engine/io/png.h"

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

std::vector<std::uint8_t> encode_png(const Image& image) {
  std::vector<std::uint8_t> png;
  const auto append = [](void* into, void* bytes, int size) {
    auto& target = *static_cast<std::vector<std::uint8_t>*>(into);
    const auto* first = static_cast<const std::uint8_t*>(bytes);
    target.insert(target.end(), first, first + size);
  };
  const int width = static_cast<int>(image.width), height = static_cast<int>(image.height),
            channels = static_cast<int>(image.channels);
  check(width > 0 && height > 0 &&
            stbi_write_png_to_func(append, &png, width, height, channels, image.pixels.data(), width * channels) != 0,
        "png: cannot encode an image of ", width, " x ", height, " pixels in ", channels, " channels");
  return png;
}

}  // namespace retort
