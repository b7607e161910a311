// XXH64 by xxHash's own header. The algorithm and its seed stay what they are: stores, caches and models hold the
// hashes that earlier versions wrote.
#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/io/content_hash.h"
#include "engine/io/file.h"

namespace retort {
namespace {

constexpr XXH64_hash_t kSeed = 0;

std::string hex(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

}  // namespace

struct ContentHash::State {
  XXH64_state_t hash;
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) { XXH64_reset(&state_->hash, kSeed); }
ContentHash::~ContentHash() = default;

void ContentHash::add(std::span<const std::uint8_t> bytes) { XXH64_update(&state_->hash, bytes.data(), bytes.size()); }

std::string ContentHash::digits() const { return hex(XXH64_digest(&state_->hash)); }

std::string content_hash(std::span<const std::uint8_t> bytes) { return hex(XXH64(bytes.data(), bytes.size(), kSeed)); }

std::string file_hash(const std::string& path) { return file_hash(InputFile(path)); }

std::string file_hash(const InputFile& file) {
  ContentHash hash;
  std::vector<std::uint8_t> buffer(std::min<std::uint64_t>(file.size(), 1u << 20));
  for (std::uint64_t offset = 0; offset < file.size(); offset += buffer.size()) {
    buffer.resize(std::min<std::uint64_t>(file.size() - offset, buffer.size()));
    file.read(offset, buffer);
    hash.add(buffer);
  }
  return hash.digits();
}

}  // namespace retort
