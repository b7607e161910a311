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

/// The same shares in a row, from share `first` on, with no division each.
class Shares {
 public:
  constexpr Shares(std::int64_t total, std::int64_t count, std::int64_t first = 0)
      : count_(count),
        each_(total / count),
        rest_(total % count),
        over_(rest_ * first % count),
        end_(share_of(total, count, first).begin) {}
  constexpr Range next() {
    const std::int64_t begin = end_;
    over_ += rest_;
    end_ += each_ + (over_ >= count_ ? 1 : 0);
    if (over_ >= count_) over_ -= count_;
    return {begin, end_};
  }

 private:
  std::int64_t count_, each_, rest_, over_, end_;
};

}  // namespace retort::cpu
