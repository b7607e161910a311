// Fetching ahead: the lines of a matrix that will be read next are brought into the L2 cache one by one while the block
// before is multiplied. A copy that waits for memory would leave the multipliers idle, and the processor's own
// prefetching starts anew with every block.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/gemm/block_gemm.h"

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

  /// The number of lines to fetch in the next turn, at most `max_lines`.
  std::int64_t next_share(std::int64_t max_lines) {
    const std::int64_t share = std::min({share_, lines_left_, max_lines});
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

/// What a register tile fetches meanwhile: lines of two matrices in turns.
class PrefetchTurns {
 public:
  PrefetchTurns() = default;
  PrefetchTurns(Prefetch& first, Prefetch& second, std::int64_t turns)
      : matrices_{&first, &second}, lines_{first.next_share(turns / 2), second.next_share(turns / 2)} {}

  /// `turn` is counted down to 0.
  void take(std::size_t turn) const {
    if (static_cast<std::int64_t>(turn / 2) < lines_[turn % 2]) matrices_[turn % 2]->fetch();
  }

 private:
  Prefetch* matrices_[2] = {nullptr, nullptr};
  std::int64_t lines_[2] = {0, 0};
};

/// A block of A, if it lies in a matrix.
template <class T, class Out>
Prefetch prefetch_a(const BlockGemm<T, Out>& product, std::int64_t row, std::int64_t rows, std::int64_t depth,
                    std::int64_t depths, std::int64_t turns) {
  if (product.a.data == nullptr) return {};
  if (product.layout == PanelLayout::depth_major) {
    std::swap(row, depth);
    std::swap(rows, depths);
  }
  constexpr std::int64_t kBytes = sizeof(T);
  return {product.a.data + row * product.a.stride + depth, rows, depths * kBytes, product.a.stride * kBytes, turns};
}

/// A block of B, if it lies in a matrix as written.
template <class T, class Out>
Prefetch prefetch_b(const BlockGemm<T, Out>& product, std::int64_t depth, std::int64_t depths, std::int64_t col,
                    std::int64_t cols, std::int64_t turns) {
  if (product.b.transposed || product.b.run_length > 0) return {};
  constexpr std::int64_t kBytes = sizeof(T);
  return {product.b.data + depth * product.b.stride + col, depths, cols * kBytes, product.b.stride * kBytes, turns};
}

/// Rows of the epilogue's residual, if there is one.
template <class T, class Out>
Prefetch prefetch_residual(const BlockGemm<T, Out>& product, std::int64_t row, std::int64_t rows, std::int64_t col,
                           std::int64_t cols, std::int64_t turns) {
  if (product.epilogue.residual == nullptr) return {};
  constexpr std::int64_t kBytes = sizeof(Out);
  return {product.epilogue.residual + row * product.residual_stride + col, rows, cols * kBytes,
          product.residual_stride * kBytes, turns};
}

}  // namespace retort::cpu
