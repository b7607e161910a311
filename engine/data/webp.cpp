#include "engine/data/webp.h"

#include <cstring>

#include "engine/core/check.h"
#include "engine/data/pnm.h"
#ifdef RETORT_HAVE_WEBP
#include <webp/decode.h>
#endif

namespace retort {

bool is_webp(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 &&
         std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

#ifdef RETORT_HAVE_WEBP

bool webp_supported() { return true; }

Fault decode_webp(std::span<const std::uint8_t> bytes, Image& image) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK) return "a damaged WebP header";
  if (features.has_animation) return "an animated WebP; save its first frame as a picture";
  image = {features.width, features.height, 3, {}};
  const std::int64_t pixels = image.width * image.height;
  if (pixels > kLargestImage) return text(image.width, " x ", image.height, " pixels, more than 2^27");
  // A single colour takes some forty bytes at any size, and a file of more colours grows with its pixels.
  constexpr std::int64_t kPixelsAByte = 1 << 15;
  if (pixels > kFreePixels + kPixelsAByte * static_cast<std::int64_t>(bytes.size()))
    return text(image.width, " x ", image.height, " pixels in ", bytes.size(), " bytes");
  image.pixels.resize(static_cast<std::size_t>(3 * pixels));
  if (!WebPDecodeRGBInto(bytes.data(), bytes.size(), image.pixels.data(), image.pixels.size(),
                         static_cast<int>(3 * image.width)))
    return "damaged WebP content";
  return "";
}

#else

bool webp_supported() { return false; }

Fault decode_webp(std::span<const std::uint8_t>, Image&) {
  return "a WebP picture, which this build does not read (libwebp was not there when it was configured)";
}

#endif

}  // namespace retort
