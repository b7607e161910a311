#include <doctest/doctest.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <ctime>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "engine/data/webp.h"
#include "engine/io/encode.h"
#include "tests/engine/data_files.h"
#include "tests/engine/data_fixtures.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Pixels = std::vector<std::uint8_t>;

template <std::size_t n>
Bytes bytes_of(const std::uint8_t (&content)[n]) {
  return Bytes(content, content + n);
}

Bytes bytes_of(const std::string& content) { return Bytes(content.begin(), content.end()); }

Image decode(const Bytes& bytes) { return decode_image(bytes, "cat/1.jpg"); }

std::string refusal(const Bytes& bytes) {
  return error_message([&] { decode(bytes); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string little(std::uint64_t value, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(value >> 8 * i);
  return out;
}

/// A 24-bit bitmap of 2 x 2 pixels, rows from the bottom up and padded to 8 bytes.
std::string bitmap() {
  const std::string pixels("\x03\x02\x01\x06\x05\x04\0\0\x09\x08\x07\x0C\x0B\x0A\0\0", 16);
  return "BM" + little(54 + 16, 4) + little(0, 4) + little(54, 4) + little(40, 4) + little(2, 4) + little(2, 4) +
         little(1, 2) + little(24, 2) + little(0, 4) + little(16, 4) + std::string(16, '\0') + pixels;
}

/// The largest distance from the picture that make_data_fixtures.py stored as JPEG.
int distance_from_ramp(const Image& image) {
  int largest = 0;
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      const int ramp[] = {x * 30, y * 30, 255 - x * 15 - y * 15};
      for (std::int64_t c = 0; c < image.channels; ++c)
        largest = std::max(largest, std::abs(image.pixels[(y * 8 + x) * image.channels + c] - ramp[c]));
    }
  return largest;
}

}  // namespace

TEST_CASE("decode reads every kind of JPEG") {
  // Quality 90 quantises the ramp's coefficients by steps of a few units; each decodes within 12 of what was stored,
  // where a swapped channel or an uninverted CMYK is off by more than 100.
  for (const Bytes& file : {bytes_of(kJpegRgb), bytes_of(kJpegCmyk), bytes_of(kJpegProgressive)}) {
    const Image image = decode(file);
    CHECK(image.width == 8);
    CHECK(image.height == 8);
    CHECK(image.channels == 3);
    CHECK(distance_from_ramp(image) <= 12);
  }
  const Image grey = decode(bytes_of(kJpegGrey));
  CHECK(grey.channels == 1);
  CHECK(distance_from_ramp(grey) <= 12);
}

TEST_CASE("decode reads the JPEGs that encode_jpeg writes, of any width") {
  for (int width = 1; width <= 20; ++width)
    for (const int channels : {1, 3}) {
      CAPTURE(width);
      CAPTURE(channels);
      Image image{width, 9, channels, {}};
      for (int y = 0; y < 9; ++y)
        for (int x = 0; x < width; ++x)
          for (int c = 0; c < channels; ++c)
            image.pixels.push_back(static_cast<std::uint8_t>(40 + 6 * x + 5 * y + 20 * c));
      const Image found = decode(encode_jpeg(image, 98));
      CHECK(found.width == width);
      CHECK(found.height == 9);
      CHECK(found.channels == 3);  // which stb_image_write makes of grey
      // Steps of a unit or two at this quality, in 64 coefficients: a few units; a channel or pixel in a wrong place is
      // off by 5 at least, at most places by more.
      int largest = 0;
      for (int i = 0; i < width * 9; ++i)
        for (int c = 0; c < 3; ++c)
          largest = std::max(largest, std::abs(found.pixels[i * 3 + c] - image.pixels[i * channels + c % channels]));
      CHECK(largest <= 4);
    }
}

TEST_CASE("decode drops alpha, looks palettes up and rounds 16 bits") {
  CHECK(decode(bytes_of(kPngRgb)).pixels ==
        Pixels{255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 128, 128, 128, 250, 240, 230});
  const Image deep = decode(bytes_of(kPngGrey16));
  CHECK(deep.channels == 1);
  CHECK(deep.pixels == Pixels{0, 127, 128, 255, 0, 1, 1, 2});
  const Image grey_alpha = decode(bytes_of(kPngGreyAlpha));
  CHECK(grey_alpha.channels == 1);
  CHECK(grey_alpha.pixels == Pixels{10, 200});
  CHECK(decode(bytes_of(kPngRgba)).pixels == Pixels{1, 2, 3, 4, 5, 6});
  CHECK(decode(bytes_of(kPngPalette)).pixels == Pixels{9, 8, 7, 100, 110, 120, 255, 0, 1, 100, 110, 120});
}

TEST_CASE("decode takes the first frame of an animated GIF") {
  const Image image = decode(bytes_of(kGifAnimated));
  CHECK(image.channels == 3);
  CHECK(image.pixels == Pixels{9, 8, 7, 100, 110, 120, 255, 0, 1, 100, 110, 120});
}

TEST_CASE("decode reads bitmaps bottom up") {
  CHECK(decode(bytes_of(bitmap())).pixels == Pixels{7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("decode reads PGM and PPM, binary and plain, and scales their samples") {
  CHECK(decode(bytes_of("P5 2 1 255\n\x05\x06")).pixels == Pixels{5, 6});
  CHECK(decode(bytes_of("P6\n# a comment\n1 1\n255\n\x05\x06\x07")).pixels == Pixels{5, 6, 7});
  CHECK(decode(bytes_of("P5 3 1 15\n" + std::string("\x00\x07\x0F", 3))).pixels == Pixels{0, 119, 255});
  CHECK(decode(bytes_of("P5 2 1 65535\n" + std::string("\xFF\xFF\x80\x00", 4))).pixels == Pixels{255, 128});
  CHECK(decode(bytes_of("P2\n2 2\n100\n0 50 # half\n100 1")).pixels == Pixels{0, 128, 255, 3});
  CHECK(decode(bytes_of("P3 1 1 255 1 2 3\n")).pixels == Pixels{1, 2, 3});
}

TEST_CASE("decode reads an image of one pixel") {
  const Image image = decode(bytes_of(pnm(pattern(1, 1, 3))));
  CHECK(image.width == 1);
  CHECK(image.height == 1);
  CHECK(image.pixels == Pixels{0, 29, 58});
}

TEST_CASE("decode refuses every file that was cut short") {
  for (const Bytes& file : {bytes_of(kJpegRgb), bytes_of(kJpegGrey), bytes_of(kJpegCmyk), bytes_of(kJpegProgressive),
                            bytes_of(kPngRgb), bytes_of(kPngGrey16), bytes_of(kPngPalette), bytes_of(bitmap()),
                            bytes_of(pnm(pattern(3, 2, 3))), bytes_of("P3 1 1 255 1 2 3")})
    for (std::size_t size = 0; size < file.size(); ++size) {
      CAPTURE(size);
      const std::string message = refusal(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)));
      CHECK(message.starts_with("cat/1.jpg: can't be decoded: "));
    }
  // Of an animation only the first frame counts: it ends where the second one's extension (0x21 0xF9) begins.
  const Bytes gif = bytes_of(kGifAnimated);
  std::size_t first_frame = gif.size();
  while (!(gif[first_frame - 1] == 0xF9 && gif[first_frame - 2] == 0x21)) --first_frame;
  for (std::size_t size = 0; size < first_frame - 2; ++size)
    CHECK(contains(refusal(Bytes(gif.begin(), gif.begin() + static_cast<std::ptrdiff_t>(size))), "can't be decoded"));
}

TEST_CASE("decode names the file, what is wrong and what to do") {
  CHECK(refusal({}) == "cat/1.jpg: can't be decoded: an empty file; replace or remove the file, or pass --skip-bad");
  CHECK(contains(refusal(bytes_of("<html>not found</html>")), "no JPEG, PNG, BMP, PPM, PGM, GIF or WebP content"));
  CHECK(contains(refusal(bytes_of("RIFF1234WAVEfmt ")), "no JPEG, PNG, BMP, PPM, PGM, GIF or WebP content"));
  CHECK(contains(refusal(bytes_of("P4 8 1\n\x01")), "PBM"));
  CHECK(contains(refusal(bytes_of("P5 1 1 15\n\x10")), "a sample of 16 where the largest is 15"));
  CHECK(contains(refusal(bytes_of("P5 0 1 255\n")), "a damaged header"));
  CHECK(contains(refusal(bytes_of("P5 100000 100000 255\n\x10")), "more than 2^27"));
  CHECK(contains(refusal(bytes_of(kJpegRgb).size() > 4 ? Bytes(kJpegRgb, kJpegRgb + 4) : Bytes()), "a truncated JPEG"));
}

namespace {

/// Where a segment's marker stands, from `from` on.
std::size_t segment(const Bytes& jpeg, std::uint8_t marker, std::size_t from = 2) {
  for (std::size_t at = from; at + 1 < jpeg.size(); ++at)
    if (jpeg[at] == 0xFF && jpeg[at + 1] == marker) return at;
  FAIL("no such segment");
  return 0;
}

Bytes without_segment(Bytes jpeg, std::uint8_t marker) {
  const std::size_t at = segment(jpeg, marker), length = 2 + jpeg[at + 2] * 256u + jpeg[at + 3];
  jpeg.erase(jpeg.begin() + static_cast<std::ptrdiff_t>(at), jpeg.begin() + static_cast<std::ptrdiff_t>(at + length));
  return jpeg;
}

/// A PNG's chunk with its checksum.
std::string chunk(const std::string& type, const std::string& content) {
  const std::string body = type + content;
  const auto big = [](std::uint32_t value) {
    return std::string{static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
                       static_cast<char>(value)};
  };
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big(static_cast<std::uint32_t>(content.size())) + body + big(static_cast<std::uint32_t>(sum));
}

std::string deflated(const std::string& plain) {
  uLongf size = compressBound(plain.size());
  std::string packed(size, '\0');
  REQUIRE(compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(plain.data()),
                    plain.size(), 9) == Z_OK);
  packed.resize(size);
  return packed;
}

std::string png_of(const std::string& header, const std::string& palette, const std::string& rows) {
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + (palette.empty() ? "" : chunk("PLTE", palette)) +
         chunk("IDAT", deflated(rows)) + chunk("IEND", "");
}

/// LZW codes of pixels of two bits as a GIF packs them: code 4 clears, 5 ends, and codes grow with their table.
std::string codes(const std::vector<int>& list) {
  std::string packed;
  std::uint32_t buffer = 0;
  int held = 0, width = 3, next = 6;
  bool first = true;
  for (const int code : list) {
    buffer |= static_cast<std::uint32_t>(code) << held;
    for (held += width; held >= 8; held -= 8, buffer >>= 8) packed += static_cast<char>(buffer);
    if (code == 4) {
      width = 3;
      next = 6;
      first = true;
    } else if (!std::exchange(first, false) && next < 4096 && ++next == 1 << width && width < 12) {
      ++width;
    }
  }
  return held > 0 ? packed + static_cast<char>(buffer) : packed;
}

struct GifOptions {
  int left = 0, top = 0, background = 0, colours = 4, transparent = -1;
  bool interlaced = false;
};

std::array<std::uint8_t, 3> gif_colour(int index) {
  const auto base = static_cast<std::uint8_t>(10 * index);
  return {static_cast<std::uint8_t>(base + 1), static_cast<std::uint8_t>(base + 2),
          static_cast<std::uint8_t>(base + 3)};
}

std::string gif_of(int width, int height, int frame_width, int frame_height, const std::string& packed,
                   const GifOptions& options = {}) {
  std::string gif = "GIF89a" + little(width, 2) + little(height, 2) +
                    static_cast<char>(options.colours == 4 ? 0x81 : 0x80) + static_cast<char>(options.background) +
                    '\0';
  for (int i = 0; i < options.colours; ++i)
    for (const std::uint8_t c : gif_colour(i)) gif += static_cast<char>(c);
  if (options.transparent >= 0)
    gif += "\x21\xF9\x04\x01" + little(0, 2) + static_cast<char>(options.transparent) + '\0';
  gif += ',' + little(options.left, 2) + little(options.top, 2) + little(frame_width, 2) + little(frame_height, 2) +
         static_cast<char>(options.interlaced ? 0x40 : 0) + '\2';
  for (std::size_t at = 0; at < packed.size(); at += 255) {
    const std::string block = packed.substr(at, 255);
    gif += static_cast<char>(block.size()) + block;
  }
  return gif + '\0' + ';';
}

/// 8 bits a pixel, 2 x 1, a palette of two colours.
std::string indexed_bitmap(char second) {
  const std::string palette("\1\2\3\0\4\5\6\0", 8);
  return "BM" + little(62 + 4, 4) + little(0, 4) + little(62, 4) + little(40, 4) + little(2, 4) + little(1, 4) +
         little(1, 2) + little(8, 2) + little(0, 4) + little(4, 4) + little(0, 8) + little(2, 4) + little(0, 4) +
         palette + std::string("\1", 1) + second + std::string(2, '\0');
}

}  // namespace

TEST_CASE("decode refuses a JPEG that does not define what it uses") {
  for (const Bytes& file : {bytes_of(kJpegRgb), bytes_of(kJpegGrey), bytes_of(kJpegProgressive)}) {
    CHECK(contains(refusal(without_segment(file, 0xDB)), "a quantisation table that is not there"));
    CHECK(contains(refusal(without_segment(file, 0xC4)), "Huffman table"));
  }
  Bytes tables = bytes_of(kJpegRgb);
  tables[segment(tables, 0xDA) + 6] = 0x22;  // of the first component
  CHECK(contains(refusal(tables), "a scan uses a Huffman table that is not there"));
  Bytes stranger = bytes_of(kJpegRgb);
  stranger[segment(stranger, 0xDA) + 5] = 99;
  CHECK(contains(refusal(stranger), "a scan of a component that the frame lacks"));
  Bytes scanless = bytes_of(kJpegGrey);
  scanless.resize(segment(scanless, 0xDA));
  scanless.insert(scanless.end(), {0xFF, 0xD9});
  CHECK(contains(refusal(scanless), "no picture in it"));
  Bytes partly = bytes_of(kJpegRgb);  // the scan of three components becomes one of the first
  const std::size_t scan = segment(partly, 0xDA);
  partly.erase(partly.begin() + static_cast<std::ptrdiff_t>(scan + 7),
               partly.begin() + static_cast<std::ptrdiff_t>(scan + 11));
  partly[scan + 3] = 8;
  partly[scan + 4] = 1;
  CHECK(contains(refusal(partly), "a component is missing"));
  Bytes scans = bytes_of(kJpegGrey);
  const std::size_t only = segment(scans, 0xDA);
  const Bytes one(scans.begin() + static_cast<std::ptrdiff_t>(only), scans.end() - 2);
  for (int i = 0; i < 200; ++i) scans.insert(scans.end() - 2, one.begin(), one.end());
  CHECK(contains(refusal(scans), "a JPEG of more than 128 scans"));
  Bytes large = bytes_of(kJpegGrey);  // 131 million pixels in some hundred bytes
  const std::size_t frame = segment(large, 0xC0);
  large[frame + 5] = large[frame + 6] = 0xFF;
  large[frame + 7] = 0x07;
  large[frame + 8] = 0xD0;
  CHECK(contains(refusal(large), "a truncated JPEG"));
  Bytes sizes = bytes_of(kJpegGrey);  // a table of DC that names a size of 200 bits
  std::size_t table = segment(sizes, 0xC4);
  while (sizes[table + 4] >> 4 != 0) table = segment(sizes, 0xC4, table + 2);
  sizes[table + 21] = 200;
  CHECK(contains(refusal(sizes), "a Huffman table is wrong"));
}

TEST_CASE("decode refuses a pixel of a colour that the palette lacks") {
  const std::string header("\0\0\0\2\0\0\0\1\x08\3\0\0\0", 13);
  CHECK(decode(bytes_of(png_of(header, "abcdef", std::string("\0\0\1", 3)))).pixels ==
        Pixels{'a', 'b', 'c', 'd', 'e', 'f'});
  CHECK(contains(refusal(bytes_of(png_of(header, "abcdef", std::string("\0\0\2", 3)))),
                 "a pixel of colour 2 where its palette has 2"));
  CHECK(contains(refusal(bytes_of(png_of(header, "", std::string("\0\0\1", 3)))), "a PNG without its palette"));
  CHECK(decode(bytes_of(indexed_bitmap('\0'))).pixels == Pixels{6, 5, 4, 3, 2, 1});
  CHECK(contains(refusal(bytes_of(indexed_bitmap('\7'))), "a pixel of colour 7 where its palette has 2"));
}

TEST_CASE("decode takes no more memory than a picture of its size warrants") {
  // 8 x 8 pixels whose data would inflate to 256 MiB.
  const std::string small("\0\0\0\x08\0\0\0\x08\x08\2\0\0\0", 13);
  CHECK(contains(refusal(bytes_of(png_of(small, "", std::string(256 << 20, '\0')))),
                 "that take more than 16 MiB to decode"));
  // 2^26 pixels of 16 bits in four channels.
  const std::string deep("\0\0\x20\0\0\0\x20\0\x10\6\0\0\0", 13);
  CHECK(contains(refusal(bytes_of(png_of(deep, "", std::string(513 << 20, '\0')))),
                 "that take more than 512 MiB to decode"));
}

TEST_CASE("decode takes no picture for larger than its bytes can hold") {
  const auto png = [](std::uint32_t side, char bits, char type, const std::string& rows) {
    const std::string extent{'\0', '\0', static_cast<char>(side >> 8), static_cast<char>(side)};
    return bytes_of(png_of(extent + extent + bits + type + std::string(3, '\0'), "", rows));
  };
  // One colour deflates by almost 1032; a row more than that is not there.
  const std::string black((1 + 3 * 1024) * 1024, '\0');
  CHECK(decode(png(1024, 8, 2, black)).width == 1024);
  CHECK(contains(refusal(png(1100, 8, 2, black)), "a truncated PNG"));
  CHECK(contains(refusal(png(30000, 8, 2, "x")), "a truncated PNG"));
  CHECK(contains(refusal(png(30000, 1, 0, "x")), "a truncated PNG"));

  CHECK(contains(refusal(bytes_of(gif_of(10000, 10000, 1, 1, codes({0, 5})))), "10000 x 10000 pixels around a frame"));
  CHECK(decode(bytes_of(gif_of(2000, 2000, 1, 1, codes({0, 5})))).width == 2000);
  CHECK(contains(refusal(bytes_of(gif_of(3000, 3000, 3000, 3000, codes({0, 5})))), "a truncated GIF"));

  if (!webp_supported()) return;
  // Lossless, each of the five prefix codes a single symbol: a picture of one colour in 27 bytes.
  const auto webp = [](std::uint32_t width, std::uint32_t height) {
    std::string bits;
    const auto put = [&](std::uint32_t value, int count) {
      for (int i = 0; i < count; ++i) bits += value >> i & 1 ? '1' : '0';
    };
    put(width - 1, 14);
    put(height - 1, 14);
    put(0, 4 + 3);  // no alpha, version 0; no transform, no cache, no groups of codes
    for (const std::uint32_t symbol : {7u, 8u, 9u, 255u, 0u}) put(1u | 0u << 1 | 1u << 2 | symbol << 3, 11);
    std::string body = "\x2f";
    for (std::size_t i = 0; i < bits.size(); i += 8) {
      std::uint32_t byte = 0;
      for (std::size_t j = i; j < std::min(i + 8, bits.size()); ++j) byte |= (bits[j] == '1' ? 1u : 0u) << (j - i);
      body += static_cast<char>(byte);
    }
    if (body.size() % 2) body += '\0';
    return bytes_of("RIFF" + little(12 + body.size(), 4) + "WEBPVP8L" + little(body.size(), 4) + body);
  };
  const Image small = decode(webp(2000, 2000));
  CHECK(small.pixels[0] == 8);
  CHECK(small.pixels[1] == 7);
  CHECK(small.pixels[2] == 9);
  CHECK(contains(refusal(webp(16000, 8000)), "16000 x 8000 pixels in "));
}

TEST_CASE("decode reads a GIF's codes to the end of its frame and no further") {
  // A frame of 2 x 2 in the middle of 4 x 3: colour 1 of the palette is the background.
  const Image framed =
      decode(bytes_of(gif_of(4, 3, 2, 2, codes({4, 0, 1, 2, 3, 5}), {.left = 1, .top = 1, .background = 1})));
  Pixels expected(4 * 3 * 3, 0);
  for (std::size_t i = 0; i < expected.size(); i += 3)
    std::ranges::copy(gif_colour(1), expected.begin() + static_cast<std::ptrdiff_t>(i));
  for (const auto& [at, colour] : {std::pair{5, 0}, {6, 1}, {9, 2}, {10, 3}})
    std::ranges::copy(gif_colour(colour), expected.begin() + 3 * at);
  CHECK(framed.pixels == expected);
  // Code 6 is used in the moment in which it comes to be: 0, 00, 000.
  CHECK(decode(bytes_of(gif_of(6, 1, 6, 1, codes({4, 1, 6, 7, 5})))).pixels ==
        decode(bytes_of(gif_of(6, 1, 6, 1, codes({4, 1, 1, 1, 4, 1, 1, 1, 5})))).pixels);
  // Rows 0, 4, 2, 1, 3 of an interlaced frame.
  const Image woven = decode(bytes_of(gif_of(1, 5, 1, 5, codes({4, 0, 1, 2, 4, 3, 0, 5}), {.interlaced = true})));
  Pixels rows;
  for (const int colour : {0, 3, 2, 0, 1})
    for (const std::uint8_t c : gif_colour(colour)) rows.push_back(c);
  CHECK(woven.pixels == rows);
  CHECK(contains(refusal(bytes_of(gif_of(3, 1, 3, 1, codes({4, 0, 1, 5})))), "a truncated GIF"));
  CHECK(contains(refusal(bytes_of(gif_of(3, 1, 3, 1, codes({4, 0, 7, 5})))), "a truncated GIF"));  // no such code yet
  CHECK(contains(refusal(bytes_of(gif_of(3, 1, 4, 1, codes({4, 0, 1, 2, 3, 5})))), "a corrupt GIF"));
  CHECK(contains(refusal(bytes_of(gif_of(2, 1, 2, 1, codes({4, 0, 3, 5}), {.colours = 2}))),
                 "a pixel of colour 3 where its palette has 2"));
  CHECK(decode(bytes_of(gif_of(2, 1, 2, 1, codes({4, 0, 3, 5}), {.colours = 2, .transparent = 3}))).pixels[3] == 0);

  // A megabyte of codes, each of thousands of pixels, behind a frame of one.
  std::vector<int> many{4};
  for (int i = 0; i < 4096; ++i) many.push_back(i == 0 ? 0 : std::min(5 + i, 4095));
  many.insert(many.end(), 700000, 4095);
  const Bytes bomb = bytes_of(gif_of(1, 1, 1, 1, codes(many)));
  const std::clock_t start = std::clock();
  CHECK(decode(bomb).width == 1);
  CHECK(std::clock() - start < CLOCKS_PER_SEC);
}

TEST_CASE("decode refuses corrupt content") {
  Bytes png = bytes_of(kPngRgb);
  png[45] ^= 1;
  CHECK(contains(refusal(png), "a chunk's checksum is wrong"));

  Bytes jpeg = bytes_of(kJpegGrey);
  std::size_t table = 0;
  while (!(jpeg[table] == 0xFF && jpeg[table + 1] == 0xC4)) ++table;
  Bytes overfull = jpeg;
  for (std::size_t i = table + 5; i < table + 21; ++i) overfull[i] = 255;
  CHECK(contains(refusal(overfull), "a Huffman table is wrong"));

  Bytes without_adobe = bytes_of(kJpegCmyk);
  std::size_t marker = 0;
  while (!(without_adobe[marker] == 0xFF && without_adobe[marker + 1] == 0xEE)) ++marker;
  without_adobe[marker + 4] = 'a';
  CHECK(contains(refusal(without_adobe), "CMYK"));
}
