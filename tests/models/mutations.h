// A file's content changed at random, the same on every machine: what a reader must refuse, or read.
#pragma once

#include <algorithm>
#include <string>

#include "engine/core/random.h"

namespace retort::test {

/// One to four changes: a byte, a run of bytes taken out, repeated or set to the largest value, or the end cut off.
inline std::string mutated(std::string content, std::uint64_t seed) {
  Random random(seed);
  const auto place = [&] { return static_cast<std::size_t>(random.below(content.size())); };
  for (std::uint64_t changes = 1 + random.below(4); changes > 0 && content.size() > 16; --changes) {
    const std::size_t at = place(), count = std::min<std::size_t>(1 + random.below(9), content.size() - at);
    switch (random.below(6)) {
      case 0: content.resize(std::max<std::size_t>(at, 16)); break;
      case 1: content.erase(at, count); break;
      case 2: content.insert(at, content.substr(place(), count)); break;
      case 3: std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(at), count, '\xff'); break;
      default: content[at] = static_cast<char>(random.below(256)); break;
    }
  }
  return content;
}

}  // namespace retort::test
