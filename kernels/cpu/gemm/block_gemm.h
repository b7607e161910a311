// The blocked matrix product under the CPU's GEMM and convolutions:
//
//   C[i, j] = sum over l of A[i, l] * B[l, j], and what an epilogue asks for;   i < rows, j < cols, l < depth
//
// A is never materialised: a callback loads one block of it at a time into a small scratch panel, so that a convolution
// gathers patches where a GEMM copies. B is packed, a block that fits the L2 cache at a time, into slivers as wide as
// two vectors; a register-tiled micro-kernel runs each panel against each sliver. Each element of C is summed in the
// same order however many rows there are and however they are split into tasks: neither the number of threads nor the
// size of the batch changes the bits.
//
// A and B are f32 (block_gemm.cpp), or bf16 with sums in f32 (block_gemm_bf16.cpp). This header has what a product
// takes; block_gemm-inl.h declares the product itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/cpu/gemm/epilogue.h"
#include "kernels/threads.h"

namespace retort::cpu {

/// How a product multiplies: the elements of A and B, and the instructions. All sums are f32. NativeBf16 is what the
/// level avx512_bf16 adds to avx512.
struct FloatArithmetic {
  using Element = float;
};
struct WidenedBf16 {  ///< bf16 is widened to float
  using Element = BFloat16;
};
struct NativeBf16 {  ///< AVX-512 BF16 multiplies pairs of bf16
  using Element = BFloat16;
};

/// Which index of A is contiguous in the scratch panel.
enum class PanelLayout : std::uint8_t {
  row_major,    ///< panel[row * stride + l]: A as written above (plain GEMM, fprop, dgrad)
  depth_major,  ///< panel[l * stride + row]: A comes transposed (wgrad)
};

/// A block of A to be loaded: rows [row, row + rows) and depths [depth, depth + depths).
template <class T>
struct PanelBlock {
  std::int64_t row, rows, depth, depths;
  T* panel;
  std::int64_t stride;  ///< elements between the panel's contiguous runs: rows (row_major) or depths (depth_major)
};

/// Where A lies, if its blocks are copies of a matrix [rows, depth], or [depth, rows] if depth_major. Such blocks are
/// fetched ahead.
template <class T>
struct StoredA {
  const T* data = nullptr;  ///< null: not as a matrix
  std::int64_t stride = 0;  ///< between neighbouring rows of the matrix
};

/// Where B lies. Its rows come in runs of run_length, run i at data + i / inner_runs * outer_step + i % inner_runs *
/// inner_step: one run for a matrix, one per tap for a filter that is read backwards.
template <class T>
struct StoredB {
  const T* data;
  std::int64_t stride;          ///< between neighbouring rows of a run, or its columns if transposed
  bool transposed = false;      ///< each run is stored [cols, run_length]
  std::int64_t run_length = 0;  ///< 0: all in one run
  std::int64_t inner_runs = 1, inner_step = 0, outer_step = 0;
};

/// T: of A and B; Out: of C.
template <class T, class Out = T>
struct BlockGemm {
  std::int64_t rows, cols, depth;
  PanelLayout layout;
  /// Fills a panel, run by run in ascending order; may write up to kPanelSlack<T> elements past the end of each run.
  FunctionRef<void(const PanelBlock<T>&)> load_panel;
  StoredA<T> a;
  StoredB<T> b;
  /// Writes the addresses of column 0 of C's rows [row, row + rows).
  FunctionRef<void(std::int64_t row, std::int64_t rows, Out** addresses)> locate_rows;
  Epilogue<Out> epilogue = {};
  std::int64_t residual_stride = 0;  ///< between rows of the epilogue's residual; bf16 into f32 takes no residual
  const float* packed = nullptr;     ///< all of B as pack_all leaves it, in place of b; f32 alone
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
  /// Smaller tasks, for an f32 product whose B is packed already: only what a task reads of it has to fit the L2 cache.
  static TaskGrid of_packed(std::int64_t rows, std::int64_t cols, std::int64_t depth);
  std::int64_t size() const { return row_tiles_ * col_tiles_; }
  Range2d operator[](std::int64_t index) const;

 private:
  TaskGrid() = default;
  std::int64_t rows_, cols_, row_tiles_, col_tiles_;
};

/// Depths of a PanelBlock at most.
template <class T>
inline constexpr std::int64_t kBlockDepth = 1024 / static_cast<std::int64_t>(sizeof(T));
inline constexpr std::int64_t kBlockRows = 252;  ///< rows of one at most; a multiple of the micro-kernel's 14
/// A vector; it also spreads a panel's runs over the cache's sets.
template <class T>
inline constexpr std::int64_t kPanelSlack = 64 / static_cast<std::int64_t>(sizeof(T));

/// Elements between the rows of a row-major panel of whole blocks.
template <class T>
inline constexpr std::int64_t kPanelRowStride = kBlockDepth<T> + kPanelSlack<T>;

inline constexpr std::int64_t kWidestSliver = 32;  ///< columns of B that are packed together, at most: two vectors

inline constexpr std::int64_t kTaskRows = 504;  ///< rows of a TaskGrid's rectangles at most

/// Bytes of scratch that one call of block_gemm needs, for A and B of type T.
template <class T>
std::size_t block_gemm_scratch_bytes();

}  // namespace retort::cpu
