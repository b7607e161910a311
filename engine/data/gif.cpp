#include "engine/data/gif.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/core/check.h"
#include "engine/data/pnm.h"

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr const char* kTruncated = "a truncated GIF";
constexpr std::size_t kCodes = 4096, kMaxCodeBits = 12;
/// Code n stands for n pixels at most, so that no byte gives more than this.
constexpr std::int64_t kPixelsAByte = kCodes * 8 / kMaxCodeBits;

struct Frame {
  std::int64_t left, top, width, height;
  bool interlaced;
};

/// The bytes of a file in their order; beyond its end zeros, of which `ended` tells.
class Input {
 public:
  explicit Input(Bytes bytes) : bytes_(bytes) {}

  bool ended() const { return ended_; }
  std::uint8_t byte() {
    const Bytes one = take(1);
    return one.empty() ? 0 : one[0];
  }
  std::int64_t word() {
    const std::int64_t low = byte();
    return low | byte() << 8;
  }
  /// The next `count` bytes; none where the file has fewer.
  Bytes take(std::size_t count) {
    ended_ = ended_ || count > bytes_.size();
    if (ended_) return {};
    const Bytes taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  /// The palette that a block's flags announce; none where they do not.
  Bytes palette(std::uint8_t flags) { return flags & 0x80 ? take(std::size_t{6} << (flags & 7)) : Bytes{}; }
  /// Blocks, each with its length before it, to the empty one.
  std::vector<std::uint8_t> blocks() {
    std::vector<std::uint8_t> content;
    for (Bytes block = take(byte()); !block.empty(); block = take(byte()))
      content.insert(content.end(), block.begin(), block.end());
    return content;
  }

 private:
  Bytes bytes_;
  bool ended_ = false;
};

/// Undoes LZW with codes of at first `bits` + 1 bits, until `indices` is full. False where the data end before, or are
/// none.
bool inflate(Bytes data, std::size_t bits, std::vector<std::uint8_t>& indices) {
  // A code stands for its prefix's pixels and one more.
  struct Code {
    std::uint16_t prefix, length;
    std::uint8_t first, last;
  };
  std::array<Code, kCodes> codes{};
  const std::size_t clear = std::size_t{1} << bits, none = kCodes;
  for (std::size_t i = 0; i < clear; ++i) {
    const auto index = static_cast<std::uint8_t>(i);
    codes[i] = {.prefix = 0, .length = 1, .first = index, .last = index};
  }
  std::size_t width = bits + 1, next = clear + 2, before = none, done = 0, held = 0;
  std::uint32_t buffer = 0;
  for (auto byte = data.begin(); done < indices.size();) {
    for (; held < width; held += 8) {
      if (byte == data.end()) return false;
      buffer |= std::uint32_t{*byte++} << held;
    }
    const std::size_t code = buffer & ((1u << width) - 1);
    buffer >>= width;
    held -= width;
    if (code == clear) {
      width = bits + 1;
      next = clear + 2;
      before = none;
      continue;
    }
    // The next code may be used in the moment in which it comes to be.
    if (code == clear + 1 || code > next || (code == next && (before == none || next == kCodes))) return false;
    if (before != none && next < kCodes) {
      const std::uint8_t first = codes[before].first;
      codes[next] = {.prefix = static_cast<std::uint16_t>(before),
                     .length = static_cast<std::uint16_t>(codes[before].length + 1),
                     .first = first,
                     .last = code == next ? first : codes[code].first};
      if (++next == std::size_t{1} << width && width < kMaxCodeBits) ++width;
    }
    const std::size_t end = done + codes[code].length;
    for (std::size_t at = end, link = code; at-- > done; link = codes[link].prefix)
      if (at < indices.size()) indices[at] = codes[link].last;
    done = end;
    before = code;
  }
  return true;
}

/// The rows of a frame in the order in which they are stored.
std::vector<std::int64_t> rows_of(const Frame& frame) {
  std::vector<std::int64_t> rows;
  const auto add = [&](std::int64_t first, std::int64_t step) {
    for (std::int64_t row = first; row < frame.height; row += step) rows.push_back(row);
  };
  if (!frame.interlaced) {
    add(0, 1);
  } else {
    add(0, 8);
    add(4, 8);
    add(2, 4);
    add(1, 2);
  }
  return rows;
}

}  // namespace

bool is_gif(Bytes bytes) {
  return bytes.size() >= 6 &&
         (std::memcmp(bytes.data(), "GIF87a", 6) == 0 || std::memcmp(bytes.data(), "GIF89a", 6) == 0);
}

Fault decode_gif(Bytes bytes, Image& image) {
  Input input(bytes.subspan(6));
  image = {.width = input.word(), .height = input.word(), .channels = 3, .pixels = {}};
  const std::uint8_t flags = input.byte(), background = input.byte();
  input.byte();  // the pixels' aspect ratio
  const Bytes shared = input.palette(flags);
  int transparent = -1;
  for (std::uint8_t block = input.byte(); block != 0x2C; block = input.byte()) {
    if (input.ended()) return kTruncated;
    if (block != 0x21) return "a GIF without a frame";
    const bool control = input.byte() == 0xF9;
    const std::vector<std::uint8_t> content = input.blocks();
    if (control && content.size() == 4) transparent = content[0] & 1 ? content[3] : -1;
  }
  Frame frame{
      .left = input.word(), .top = input.word(), .width = input.word(), .height = input.word(), .interlaced = false};
  const std::uint8_t frame_flags = input.byte();
  frame.interlaced = frame_flags & 0x40;
  const Bytes own = input.palette(frame_flags), palette = own.empty() ? shared : own;
  const std::size_t bits = input.byte();
  const std::vector<std::uint8_t> data = input.blocks();
  if (input.ended()) return kTruncated;
  if (frame.width < 1 || frame.height < 1 || frame.left + frame.width > image.width ||
      frame.top + frame.height > image.height || palette.empty() || bits < 1 || bits > 8)
    return "a corrupt GIF";
  const std::int64_t canvas = image.width * image.height, given = kPixelsAByte * static_cast<std::int64_t>(data.size());
  if (canvas > kLargestImage) return text(image.width, " x ", image.height, " pixels, more than 2^27");
  if (frame.width * frame.height > given) return kTruncated;
  if (canvas > given + kFreePixels)
    return text(image.width, " x ", image.height, " pixels around a frame of ", frame.width, " x ", frame.height);

  std::vector<std::uint8_t> indices(static_cast<std::size_t>(frame.width * frame.height));
  if (!inflate(data, bits, indices)) return kTruncated;
  image.pixels.resize(static_cast<std::size_t>(3 * canvas));
  if (background > 0 && 3 * std::size_t{background} < shared.size())
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) std::memcpy(&image.pixels[i], &shared[3 * background], 3);
  const std::uint8_t* index = indices.data();
  for (const std::int64_t row : rows_of(frame)) {
    std::uint8_t* out = &image.pixels[static_cast<std::size_t>(3 * ((frame.top + row) * image.width + frame.left))];
    for (std::int64_t x = 0; x < frame.width; ++x, ++index, out += 3) {
      const std::size_t colour = 3 * std::size_t{*index};
      if (*index == transparent)
        std::memset(out, 0, 3);
      else if (colour < palette.size())
        std::memcpy(out, &palette[colour], 3);
      else
        return text("a pixel of colour ", colour / 3, " where its palette has ", palette.size() / 3);
    }
  }
  return "";
}

}  // namespace retort
