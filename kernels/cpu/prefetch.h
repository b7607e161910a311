// Fetching ahead: the lines of a matrix that will be read next are brought into the L2 cache one by one while the block
// before is multiplied. A copy that waits for memory would leave the multipliers idle, and the processor's own
// prefetching starts anew with every block.
#pragma once

#include <algorithm>
#include <cstdint>

namespace retort::cpu {

class Prefetch {
 public:
  Prefetch() = default;

  /// Of `rows` rows of `row_bytes` bytes, `row_step` bytes apart, in `turns` shares of the same size.
  Prefetch(const void* first, std::int64_t rows, std::int64_t row_bytes, std::int64_t row_step, std::int64_t turns)
      : line_(static_cast<const char*>(first)),
        row_end_(line_ + row_bytes),
        row_bytes_(row_bytes),
        row_step_(row_step),
        lines_left_(rows * ((row_bytes + kLine - 1) / kLine)),
        share_((lines_left_ + turns - 1) / turns) {}

  /// The lines to fetch in the next turn, `most` at most.
  std::int64_t next_share(std::int64_t most) {
    const std::int64_t share = std::min({share_, lines_left_, most});
    lines_left_ -= share;
    return share;
  }

  /// Fetches the next line.
  void fetch() {
    __builtin_prefetch(line_, /*write=*/0, /*into L2=*/2);
    line_ += kLine;
    if (line_ < row_end_) return;
    row_end_ += row_step_;
    line_ = row_end_ - row_bytes_;
  }

 private:
  static constexpr std::int64_t kLine = 64;

  const char* line_ = nullptr;
  const char* row_end_ = nullptr;
  std::int64_t row_bytes_ = 0, row_step_ = 0;
  std::int64_t lines_left_ = 0, share_ = 0;
};

}  // namespace retort::cpu
