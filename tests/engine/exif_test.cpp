#include "engine/data/exif.h"

#include <doctest/doctest.h>

#include "engine/data/webp.h"
#include "engine/io/encode.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

using Bytes = std::vector<std::uint8_t>;

/// EXIF's TIFF with one entry, the orientation.
Bytes tiff(int orientation, bool little) {
  Bytes bytes = little ? Bytes{'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0} : Bytes{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1};
  const Bytes entry = little ? Bytes{0x12, 0x01, 3, 0, 1, 0, 0, 0, static_cast<std::uint8_t>(orientation), 0, 0, 0}
                             : Bytes{0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, static_cast<std::uint8_t>(orientation), 0, 0};
  bytes.insert(bytes.end(), entry.begin(), entry.end());
  bytes.insert(bytes.end(), 4, 0);
  return bytes;
}

/// The JPEG with an APP1 segment behind its first marker.
Bytes with_exif(const Bytes& jpeg, const Bytes& tiff_bytes) {
  Bytes segment = {'E', 'x', 'i', 'f', 0, 0};
  segment.insert(segment.end(), tiff_bytes.begin(), tiff_bytes.end());
  const std::size_t length = segment.size() + 2;
  const Bytes head = {0xFF, 0xE1, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length & 255)};
  Bytes file(jpeg.begin(), jpeg.begin() + 2);
  file.insert(file.end(), head.begin(), head.end());
  file.insert(file.end(), segment.begin(), segment.end());
  file.insert(file.end(), jpeg.begin() + 2, jpeg.end());
  return file;
}

/// A grey image of the numbers, row by row.
Image grey(std::int64_t width, std::int64_t height, Bytes pixels) { return {width, height, 1, std::move(pixels)}; }

}  // namespace

TEST_CASE("exif: what each of the eight orientations does to six pixels") {
  const Image stored = grey(3, 2, {1, 2, 3, 4, 5, 6});
  const auto turned = [&](int orientation) { return upright(stored, orientation); };
  CHECK(turned(1).pixels == Bytes{1, 2, 3, 4, 5, 6});
  CHECK(turned(2).pixels == Bytes{3, 2, 1, 6, 5, 4});
  CHECK(turned(3).pixels == Bytes{6, 5, 4, 3, 2, 1});
  CHECK(turned(4).pixels == Bytes{4, 5, 6, 1, 2, 3});
  CHECK(turned(5).pixels == Bytes{1, 4, 2, 5, 3, 6});
  CHECK(turned(6).pixels == Bytes{4, 1, 5, 2, 6, 3});  // the camera was turned left: its top row is on the right
  CHECK(turned(7).pixels == Bytes{6, 3, 5, 2, 4, 1});
  CHECK(turned(8).pixels == Bytes{3, 6, 2, 5, 1, 4});
  for (int orientation = 5; orientation <= 8; ++orientation) {
    CHECK(turned(orientation).width == 2);
    CHECK(turned(orientation).height == 3);
  }
  CHECK(turned(9).pixels == stored.pixels);
}

TEST_CASE("exif: a JPEG's orientation is read in both byte orders and applied on decoding") {
  Image image{16, 8, 3, {}};
  for (int i = 0; i < 16 * 8; ++i)
    for (int c = 0; c < 3; ++c) image.pixels.push_back(static_cast<std::uint8_t>(i % 16 < 8 ? 20 : 220));
  const Bytes jpeg = encode_jpeg(image, 95);
  CHECK(exif_orientation(jpeg) == 1);
  for (const bool little : {false, true}) {
    const Bytes turned = with_exif(jpeg, tiff(6, little));
    CHECK(exif_orientation(turned) == 6);
    const Image decoded = decode_image(turned, "x.jpg");
    CHECK(decoded.width == 8);
    CHECK(decoded.height == 16);
    CHECK(decoded.pixels.front() < 60);  // the dark half was left and is on top
    CHECK(decoded.pixels.back() > 180);
  }
  CHECK(exif_orientation(with_exif(jpeg, tiff(0, true))) == 1);
  CHECK(exif_orientation(with_exif(jpeg, tiff(9, true))) == 1);
}

TEST_CASE("exif: a directory that is cut short or points outside means upright") {
  const Bytes jpeg = encode_jpeg({8, 8, 3, Bytes(192, 100)}, 90);
  const Bytes whole = tiff(6, true);
  for (std::size_t size = 0; size < 18; ++size)
    CHECK(exif_orientation(with_exif(jpeg, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)))) ==
          1);
  Bytes outside = whole;
  outside[4] = outside[5] = outside[6] = outside[7] = 0xFF;
  CHECK(exif_orientation(with_exif(jpeg, outside)) == 1);
  for (std::size_t size = 0; size < jpeg.size(); size += 7)
    CHECK(exif_orientation(Bytes(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(size))) == 1);
}

TEST_CASE("webp: pictures are decoded where libwebp is there, and else named") {
  // 2 x 1 pixels, red and blue, lossless (cwebp -lossless).
  const Bytes file = {0x52, 0x49, 0x46, 0x46, 0x1e, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56,
                      0x50, 0x38, 0x4c, 0x11, 0x00, 0x00, 0x00, 0x2f, 0x01, 0x00, 0x00, 0x00, 0x0f,
                      0x10, 0xf3, 0xbf, 0xff, 0xf3, 0x1f, 0x0e, 0x32, 0xa2, 0xff, 0x01, 0x00};
  CHECK(is_webp(file));
  if (!webp_supported()) {
    CHECK(error_message([&] { decode_image(file, "x.webp"); }).starts_with("x.webp: can't be decoded: a WebP picture"));
    return;
  }
  const Image image = decode_image(file, "x.webp");
  CHECK(image.width == 2);
  CHECK(image.height == 1);
  CHECK(image.pixels == Bytes{255, 0, 0, 0, 0, 255});
  CHECK(error_message([&] {
          decode_image(Bytes(file.begin(), file.begin() + 16), "x.webp");
        }).starts_with("x.webp: can't be decoded: a damaged WebP header"));
}
