#include "engine/data/pnm.h"

#include "engine/core/check.h"

namespace retort {
namespace {

bool space(std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Reads the numbers of a header, or of a plain file's samples.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  /// The next number, after white space and comments; -1 where there is none, or it is beyond 2^27.
  std::int64_t number() {
    while (at_ < bytes_.size() && (space(bytes_[at_]) || bytes_[at_] == '#')) {
      if (bytes_[at_] == '#')
        while (at_ < bytes_.size() && bytes_[at_] != '\n') ++at_;
      else
        ++at_;
    }
    const std::size_t first = at_;
    std::int64_t value = 0;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_) {
      value = value * 10 + (bytes_[at_] - '0');
      if (value > kLargestImage) return -1;
    }
    return at_ == first ? -1 : value;
  }
  /// What follows the one white space character after the header.
  std::span<const std::uint8_t> rest() const { return bytes_.subspan(at_ < bytes_.size() ? at_ + 1 : at_); }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 2;
};

}  // namespace

Fault decode_pnm(std::span<const std::uint8_t> bytes, Image& image) {
  const char kind = static_cast<char>(bytes[1]);
  if (kind == '1' || kind == '4') return "a black-and-white map (PBM), expected PGM or PPM";
  const bool plain = kind == '2' || kind == '3';
  Reader reader(bytes);
  image.channels = kind == '3' || kind == '6' ? 3 : 1;
  image.width = reader.number();
  image.height = reader.number();
  const std::int64_t largest = reader.number();
  if (image.width < 1 || image.height < 1 || largest < 1 || largest > 65535) return "a damaged header";
  if (image.width * image.height > kLargestImage)
    return text(image.width, " x ", image.height, " pixels, more than 2^27");

  const std::int64_t samples = image.width * image.height * image.channels, width = largest > 255 ? 2 : 1;
  const std::span<const std::uint8_t> rest = reader.rest();
  // A plain sample takes two bytes at least, but for the last one.
  const std::int64_t needed = plain ? 2 * samples - 1 : samples * width;
  if (static_cast<std::int64_t>(rest.size()) < needed) return "a truncated PGM or PPM";
  image.pixels.resize(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i) {
    std::int64_t value = 0;
    if (plain)
      value = reader.number();
    else
      value = width == 2 ? rest[2 * i] << 8 | rest[2 * i + 1] : rest[i];
    if (value < 0) return "a truncated PGM or PPM";
    if (value > largest) return text("a sample of ", value, " where the largest is ", largest);
    image.pixels[i] = static_cast<std::uint8_t>((value * 255 + largest / 2) / largest);
  }
  return "";
}

}  // namespace retort
