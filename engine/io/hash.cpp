// XXH64, from its specification. Four independent lanes of multiply, rotate, multiply: the speed of memory.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/io/file.h"

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie");

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                        kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;
constexpr std::size_t kStripe = 32;

template <class Word>
Word load(const std::uint8_t* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

std::uint64_t round(std::uint64_t lane, std::uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

class Xxh64 {
 public:
  /// Takes in whole stripes only.
  void update(std::span<const std::uint8_t> stripes) {
    for (std::size_t at = 0; at < stripes.size(); at += kStripe)
      for (std::size_t lane = 0; lane < 4; ++lane)
        lanes_[lane] = round(lanes_[lane], load<std::uint64_t>(stripes.data() + at + 8 * lane));
    length_ += stripes.size();
  }

  /// Takes in the rest, less than a stripe, and returns the hash.
  std::uint64_t finish(std::span<const std::uint8_t> rest) const {
    std::uint64_t hash = kPrime5;
    if (length_ > 0) {
      hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
      for (const std::uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
    }
    hash += length_ + rest.size();
    std::size_t at = 0;
    for (; at + 8 <= rest.size(); at += 8)
      hash = std::rotl(hash ^ round(0, load<std::uint64_t>(rest.data() + at)), 27) * kPrime1 + kPrime4;
    for (; at + 4 <= rest.size(); at += 4)
      hash = std::rotl(hash ^ (load<std::uint32_t>(rest.data() + at) * kPrime1), 23) * kPrime2 + kPrime3;
    for (; at < rest.size(); ++at) hash = std::rotl(hash ^ (rest[at] * kPrime5), 11) * kPrime1;
    hash = (hash ^ (hash >> 33)) * kPrime2;
    hash = (hash ^ (hash >> 29)) * kPrime3;
    return hash ^ (hash >> 32);
  }

 private:
  std::array<std::uint64_t, 4> lanes_ = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  std::uint64_t length_ = 0;
};

std::string hex(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

}  // namespace

std::string content_hash(std::span<const std::uint8_t> bytes) {
  Xxh64 state;
  const std::size_t whole = bytes.size() / kStripe * kStripe;
  state.update(bytes.first(whole));
  return hex(state.finish(bytes.subspan(whole)));
}

std::string file_hash(const std::string& path) {
  const InputFile file(path);
  Xxh64 state;
  std::vector<std::uint8_t> buffer(1u << 20);  // a multiple of the stripe
  for (std::uint64_t offset = 0;;) {
    const std::uint64_t left = file.size() - offset;
    if (left < buffer.size()) buffer.resize(left);
    file.read(offset, buffer);
    offset += buffer.size();
    const std::size_t whole = buffer.size() / kStripe * kStripe;
    state.update(std::span(buffer).first(whole));
    if (offset == file.size()) return hex(state.finish(std::span(buffer).subspan(whole)));
  }
}

}  // namespace retort
