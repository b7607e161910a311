// Half-open ranges of indices, and how they are cut into shares.
#pragma once

#include <cstdint>

namespace retort::cpu {

/// [begin, end)
struct Range {
  std::int64_t begin, end;
  constexpr std::int64_t size() const { return end - begin; }
};

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Share `index` of [0, total) cut into `count` shares of about the same size.
constexpr Range share_of(std::int64_t total, std::int64_t count, std::int64_t index) {
  return {total * index / count, total * (index + 1) / count};
}

}  // namespace retort::cpu
