// The blocked matrix product under the CPU's GEMM and convolutions:
//
//   C[i, j] = sum over l of A[i, l] * B[l, j] + bias[j], then max(0, C) if relu;   i < rows, j < cols, l < depth
//
// A is never materialised: a callback loads one block of it at a time into a small scratch panel, so that a convolution
// gathers patches where a GEMM copies. B is packed, a block that fits the L2 cache at a time, into slivers as wide as
// two vectors; a register-tiled micro-kernel runs each panel against each sliver. Each element of C is summed in the
// same order however many rows there are and however they are split into tasks: neither the number of threads nor the
// size of the batch changes the bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace retort::cpu {

/// Which index of A is contiguous in the scratch panel.
enum class PanelLayout : std::uint8_t {
  row_major,    ///< panel[row * stride + l]: A as written above (plain GEMM, fprop, dgrad)
  depth_major,  ///< panel[l * stride + row]: A comes transposed (wgrad)
};

/// A block of A to be loaded: rows [row, row + rows) and depths [depth, depth + depths).
struct PanelBlock {
  std::int64_t row, rows, depth, depths;
  float* panel;
  std::int64_t stride;  ///< elements between the panel's contiguous runs: rows (row_major) or depths (depth_major)
};

/// Where B lies. Its rows come in runs of run_length, run i at data + i / inner_runs * outer_step + i % inner_runs *
/// inner_step: one run for a matrix, one per tap for a filter that is read backwards.
struct StoredB {
  const float* data;
  std::int64_t stride;          ///< between neighbouring rows of a run, or its columns if transposed
  bool transposed = false;      ///< each run is stored [cols, run_length]
  std::int64_t run_length = 0;  ///< 0: all in one run
  std::int64_t inner_runs = 1, inner_step = 0, outer_step = 0;
};

struct BlockGemm {
  std::int64_t rows, cols, depth;
  PanelLayout layout;
  /// Fills a panel, run by run in ascending order; may write up to kPanelSlack elements past the end of each run.
  FunctionRef<void(const PanelBlock&)> load_panel;
  StoredB b;
  /// Writes the addresses of column 0 of C's rows [row, row + rows).
  FunctionRef<void(std::int64_t row, std::int64_t rows, float** addresses)> locate_rows;
  const float* bias;  ///< [cols] or null
  bool relu;
};

/// A rectangle of C.
struct Range2d {
  std::int64_t row, rows, col, cols;
};

/// Cuts C into a grid of tasks: enough for the threads, and large enough that loading A and packing B stay cheap.
class TaskGrid {
 public:
  /// `products` equal products are to be shared out together (the groups of a convolution).
  TaskGrid(std::int64_t rows, std::int64_t cols, std::int64_t products = 1);
  std::int64_t size() const { return row_tiles_ * col_tiles_; }
  Range2d operator[](std::int64_t index) const;

 private:
  std::int64_t rows_, cols_, row_tiles_, col_tiles_;
};

inline constexpr std::int64_t kBlockDepth = 256;  ///< the most depths of a PanelBlock
inline constexpr std::int64_t kBlockRows = 252;   ///< the most rows of one; a multiple of the micro-kernel's 14
inline constexpr std::int64_t kPanelSlack = 16;   ///< a vector; it also spreads a panel's runs over the cache's sets

/// Bytes of scratch that one call of block_gemm needs.
std::size_t block_gemm_scratch_bytes();

/// Computes a rectangle of C on the calling thread. scratch is private to the call.
void block_gemm(const BlockGemm& product, const Range2d& range, void* scratch);

}  // namespace retort::cpu
