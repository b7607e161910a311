// A walk through a JPEG's segments (ITU T.81, annex B), as a decoder would take it, without decoding.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/data/image_check.h"

namespace retort {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr int kMaxScans = 128;  // cameras and web pages write ten; each one costs a pass over the whole picture

struct Component {
  std::uint8_t id = 0, quantisation = 0;
  bool scanned = false;
};

class JpegWalk {
 public:
  explicit JpegWalk(Bytes bytes) : bytes_(bytes) {}

  Fault run() {
    for (std::size_t at = 2;;) {
      if (!find_marker(at)) return kTruncated;
      const std::uint8_t marker = bytes_[at + 1];
      if (marker == 0xD9) return at_the_end();
      if (at + 4 > bytes_.size()) return kTruncated;
      const std::size_t length = std::size_t{bytes_[at + 2]} << 8 | bytes_[at + 3], end = at + 2 + length;
      if (length < 2 || end > bytes_.size()) return kTruncated;
      Fault fault = segment(marker, bytes_.subspan(at + 4, length - 2));
      if (!fault.empty()) return fault;
      at = end;
    }
  }

 private:
  static constexpr const char* kTruncated = "a truncated JPEG";
  static Fault corrupt(const char* what) { return std::string("a corrupt JPEG (") + what + ")"; }

  /// Moves on to the next marker: past a scan's entropy-coded data with its stuffed zeros and restart markers, past
  /// padding. False at the end of the file.
  bool find_marker(std::size_t& at) const {
    for (;; ++at) {
      const void* const found = at < bytes_.size() ? std::memchr(&bytes_[at], 0xFF, bytes_.size() - at) : nullptr;
      if (found == nullptr) return false;
      at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes_.data());
      if (at + 1 >= bytes_.size()) return false;
      const std::uint8_t after = bytes_[at + 1];
      if (after != 0 && after != 0xFF && (after < 0xD0 || after > 0xD7)) return true;
    }
  }

  Fault segment(std::uint8_t marker, Bytes body) {
    const bool frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (marker == 0xDB) return quantisation_tables(body);
    if (marker == 0xC4) return huffman_tables(body);
    if (marker == 0xDA) return scan(body);
    if (frame) return this->frame(marker, body);
    if (marker == 0xEE && body.size() >= 12 && std::memcmp(body.data(), "Adobe", 5) == 0) {
      adobe_ = true;
      adobe_transform_ = body[11];
    }
    return "";
  }

  Fault quantisation_tables(Bytes tables) {
    while (!tables.empty()) {
      const int precision = tables[0] >> 4, id = tables[0] & 15;
      const std::size_t bytes = precision == 0 ? 65 : 129;
      if (precision > 1 || id > 3 || tables.size() < bytes) return corrupt("a quantisation table is wrong");
      quantisation_[id] = true;
      tables = tables.subspan(bytes);
    }
    return "";
  }

  /// Codes of 1 to 16 bits, so many of each length, must not run out; a table of DC names sizes of at most 15 bits.
  Fault huffman_tables(Bytes tables) {
    while (!tables.empty()) {
      Fault wrong = corrupt("a Huffman table is wrong");
      const int kind = tables[0] >> 4, id = tables[0] & 15;
      if (tables.size() < 17 || kind > 1 || id > 3) return wrong;
      std::size_t symbols = 0;
      int free_codes = 1;
      for (std::size_t length = 1; length <= 16; ++length) {
        symbols += tables[length];
        free_codes = 2 * free_codes - tables[length];
        if (free_codes < 0) return wrong;
      }
      if (symbols > 256 || tables.size() < 17 + symbols) return wrong;
      const Bytes values = tables.subspan(17, symbols);
      if (kind == 0 && std::ranges::any_of(values, [](std::uint8_t value) { return value > 15; })) return wrong;
      huffman_[kind][id] = true;
      any_huffman_ = true;
      tables = tables.subspan(17 + symbols);
    }
    return "";
  }

  Fault frame(std::uint8_t marker, Bytes body) {
    if (marker > 0xC2) return "a JPEG of a rare kind (lossless, arithmetic or hierarchical)";
    if (count_ > 0) return corrupt("two frames");
    if (body.size() < 6 || body.size() != 6 + 3 * std::size_t{body[5]} || body[5] < 1 || body[5] > 4)
      return corrupt("its frame is wrong");
    progressive_ = marker == 0xC2;
    count_ = body[5];
    pixels_ = (std::size_t{body[1]} << 8 | body[2]) * (std::size_t{body[3]} << 8 | body[4]);
    for (int i = 0; i < count_; ++i) {
      components_[i] = {.id = body[6 + 3 * i], .quantisation = body[8 + 3 * i]};
      if (components_[i].quantisation > 3) return corrupt("its frame is wrong");
    }
    return "";
  }

  /// Every table that the scan's components use must be there by now.
  Fault scan(Bytes body) {
    if (!any_huffman_) return corrupt("no Huffman table");
    if (count_ == 0) return corrupt("a scan before the frame");
    if (++scans_ > kMaxScans) return "a JPEG of more than " + std::to_string(kMaxScans) + " scans";
    if (body.empty() || body[0] < 1 || body[0] > 4 || body.size() != 4 + 2 * std::size_t{body[0]})
      return corrupt("a scan's header is wrong");
    const std::size_t parameters = 1 + 2 * std::size_t{body[0]};
    const int first = body[parameters], refinement = body[parameters + 2] >> 4;
    for (int i = 0; i < body[0]; ++i) {
      const auto component = std::find_if(components_.begin(), components_.begin() + count_,
                                          [&](const Component& c) { return c.id == body[1 + 2 * i]; });
      if (component == components_.begin() + count_) return corrupt("a scan of a component that the frame lacks");
      const int dc = body[2 + 2 * i] >> 4, ac = body[2 + 2 * i] & 15;
      const bool uses_dc = !progressive_ || (first == 0 && refinement == 0), uses_ac = !progressive_ || first > 0;
      if ((uses_dc && (dc > 3 || !huffman_[0][dc])) || (uses_ac && (ac > 3 || !huffman_[1][ac])))
        return corrupt("a scan uses a Huffman table that is not there");
      if (!quantisation_[component->quantisation]) return corrupt("a scan uses a quantisation table that is not there");
      if (uses_dc) component->scanned = true;
    }
    return "";
  }

  Fault at_the_end() const {
    if (count_ == 0 || scans_ == 0) return corrupt("no picture in it");
    // A block of 8 x 8 pixels takes a bit at least, of which a few hundred bytes must not make millions.
    if (bytes_.size() * 8 < pixels_ / 64) return kTruncated;
    for (int i = 0; i < count_; ++i)
      if (!components_[i].scanned) return corrupt("a component is missing");
    if (count_ == 4 && (!adobe_ || adobe_transform_ == 1)) return "a CMYK JPEG without Adobe's marker";
    return "";
  }

  Bytes bytes_;
  std::array<bool, 4> quantisation_{};
  std::array<std::array<bool, 4>, 2> huffman_{};  ///< of DC, of AC
  std::array<Component, 4> components_{};
  int count_ = 0, scans_ = 0;
  std::size_t pixels_ = 0;
  bool progressive_ = false, any_huffman_ = false, adobe_ = false;
  std::uint8_t adobe_transform_ = 0;
};

}  // namespace

Fault jpeg_fault(Bytes bytes) { return JpegWalk(bytes).run(); }

}  // namespace retort
