#include "kernels/cpu/block_gemm.h"

#include <algorithm>

#include "kernels/table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_gemm.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/microkernel-inl.h"

#ifndef RETORT_BLOCK_GEMM_CONSTANTS_
#define RETORT_BLOCK_GEMM_CONSTANTS_
namespace retort::cpu {
namespace {

constexpr std::int64_t kFewRows = 28;
constexpr std::int64_t kShallowDepth = 32;
constexpr std::int64_t kRowStride = kBlockDepth + kPanelSlack;
constexpr std::int64_t kWidestSliver = 32;
constexpr std::int64_t kSliverFloats = kBlockDepth * kWidestSliver;
constexpr std::int64_t kMostSlivers = kBlockDepth / kShallowDepth;  // what the slivers' buffer holds of shallow ones
constexpr std::int64_t kPanelFloats =
    std::max(kBlockRows * kRowStride, kBlockDepth * (kBlockRows + kPanelSlack)) + kPanelSlack;
constexpr std::size_t kAlignment = 64;
static_assert(kPanelFloats * sizeof(float) % kAlignment == 0);

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Copies B[l0 .. l0 + depth)[col .. col + cols) to target [depth, width], zeros in the columns beyond cols.
void pack_sliver(const BlockGemm& product, std::int64_t l0, std::int64_t depth, std::int64_t col, std::int64_t cols,
                 std::int64_t width, float* HWY_RESTRICT target) {
  const F32 d;
  if (product.transpose_b) {
    const float* source = product.b + col * product.b_stride + l0;
    for (std::int64_t l = 0; l < depth; ++l) {
      for (std::int64_t j = 0; j < cols; ++j) target[l * width + j] = source[j * product.b_stride + l];
      for (std::int64_t j = cols; j < width; ++j) target[l * width + j] = 0.0f;
    }
    return;
  }
  const float* source = product.b + l0 * product.b_stride + col;
  if (cols == width) {
    for (std::int64_t l = 0; l < depth; ++l, source += product.b_stride, target += width)
      for (std::int64_t j = 0; j < width; j += kLanes) hn::Store(hn::LoadU(d, source + j), d, target + j);
    return;
  }
  for (std::int64_t l = 0; l < depth; ++l, source += product.b_stride, target += width)
    for (std::int64_t v = 0; v * kLanes < width; ++v)
      hn::Store(load_columns(d, source, v, cols), d, target + v * kLanes);
}

/// A loaded block of A with the rows of C that it contributes to.
struct Block {
  std::int64_t rows, depth, depths;
  const float* panel;
  std::int64_t panel_stride;
  float* const* c;
};

/// Columns of B, packed or in place.
struct Sliver {
  std::int64_t col, cols;
  const float* b;
  std::int64_t b_stride;
};

std::int64_t count_panels(std::int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

/// Runs the tiles of a sliver over the row panels [first, last) of a block; panels are balanced, so that none is tiny.
void run_panels(const BlockGemm& product, const Block& block, const Sliver& sliver, std::int64_t first,
                std::int64_t last) {
  Tile tile;
  tile.a_stride = block.panel_stride;
  tile.b = sliver.b;
  tile.b_stride = sliver.b_stride;
  tile.depth = block.depths;
  tile.col = sliver.col;
  tile.cols = sliver.cols;
  tile.accumulate = block.depth > 0;
  const bool is_last = block.depth + block.depths == product.depth;
  tile.bias = is_last && product.bias != nullptr ? product.bias + sliver.col : nullptr;
  tile.relu = is_last && product.relu;
  const bool narrow = sliver.cols <= kLanes;
  const std::int64_t panels = count_panels(block.rows);
  for (std::int64_t panel = first; panel < last; ++panel) {
    const std::int64_t begin = block.rows * panel / panels, end = block.rows * (panel + 1) / panels;
    const auto index = static_cast<std::size_t>(end - begin - 1);
    tile.c = block.c + begin;
    if (product.layout == PanelLayout::row_major) {
      tile.a = block.panel + begin * kRowStride;
      (narrow ? kTiles<1, kRowStride> : kTiles<2, kRowStride>)[index](tile);
    } else {
      tile.a = block.panel + begin;
      (narrow ? kTiles<1, 0> : kTiles<2, 0>)[index](tile);
    }
  }
}

/// How B is brought to the micro-kernel.
enum class Access {
  packed,   ///< sliver by sliver, each run over all rows
  shallow,  ///< few rows of B: all slivers are packed, then C is written row panel by row panel, in long streams
  direct,   ///< few rows of C: packing would cost more than it saves; B is read in place, in long streams
};

/// Multiplies a loaded block by columns [begin, end) of B.
void run_columns(const BlockGemm& product, const Block& block, Access access, std::int64_t begin, std::int64_t end,
                 float* slivers) {
  const std::int64_t panels = count_panels(block.rows);
  const auto make_sliver = [&](std::int64_t col, float* target) HWY_ATTR {
    const std::int64_t cols = std::min(kSliver, end - col);
    if (access == Access::direct && (cols == kSliver || cols == kLanes))
      return Sliver{col, cols, product.b + block.depth * product.b_stride + col, product.b_stride};
    const std::int64_t width = cols <= kLanes ? kLanes : kSliver;
    pack_sliver(product, block.depth, block.depths, col, cols, width, target);
    return Sliver{col, cols, target, width};
  };
  if (access != Access::shallow) {
    for (std::int64_t col = begin; col < end; col += kSliver)
      run_panels(product, block, make_sliver(col, slivers), 0, panels);
    return;
  }
  Sliver packed[kMostSlivers];
  for (std::int64_t col = begin; col < end;) {
    std::int64_t count = 0;
    for (; count < kMostSlivers && col < end; ++count, col += kSliver)
      packed[count] = make_sliver(col, slivers + count * kSliver * block.depths);
    for (std::int64_t panel = 0; panel < panels; ++panel)
      for (std::int64_t i = 0; i < count; ++i) run_panels(product, block, packed[i], panel, panel + 1);
  }
}

void run_block_gemm(const BlockGemm& product, const Range2d& range, float* scratch) {
  float* const panel = scratch;
  float* const slivers = panel + kPanelFloats;
  float** const addresses = reinterpret_cast<float**>(slivers + kSliverFloats);

  const Access access = product.rows <= kFewRows && !product.transpose_b ? Access::direct
                        : product.depth <= kShallowDepth              ? Access::shallow
                                                                      : Access::packed;
  const std::int64_t most_depths = access == Access::direct ? kShallowDepth : kBlockDepth;
  const std::int64_t depth_blocks = (product.depth + most_depths - 1) / most_depths;
  const std::int64_t row_blocks = (range.rows + kBlockRows - 1) / kBlockRows;

  for (std::int64_t i = 0; i < row_blocks; ++i) {
    const std::int64_t row = range.row + range.rows * i / row_blocks;
    const std::int64_t rows = range.row + range.rows * (i + 1) / row_blocks - row;
    product.locate_rows(row, rows, addresses);
    for (std::int64_t l = 0; l < depth_blocks; ++l) {
      const std::int64_t depth = product.depth * l / depth_blocks;
      const std::int64_t depths = product.depth * (l + 1) / depth_blocks - depth;
      const std::int64_t stride = product.layout == PanelLayout::row_major ? kRowStride : rows + kPanelSlack;
      product.load_panel({row, rows, depth, depths, panel, stride});
      run_columns(product, {rows, depth, depths, panel, stride, addresses}, access, range.col, range.col + range.cols,
                  slivers);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {

TaskGrid::TaskGrid(std::int64_t rows, std::int64_t cols, std::int64_t products) : rows_(rows), cols_(cols) {
  // Two tasks a thread even out a core that is busy elsewhere; below some 200 rows packing B begins to show.
  const std::int64_t threads = num_threads();
  row_tiles_ = (rows + kBlockRows - 1) / kBlockRows;
  col_tiles_ = 1;
  const auto short_of = [&](std::int64_t tasks) { return products * row_tiles_ * col_tiles_ < tasks; };
  if (products * row_tiles_ < 8 * threads && products == 1) row_tiles_ = (row_tiles_ + threads - 1) / threads * threads;
  while (rows / row_tiles_ < 96 && row_tiles_ > 1) --row_tiles_;
  while (short_of(threads) && cols / (col_tiles_ + 1) >= 64) ++col_tiles_;
}

Range2d TaskGrid::operator[](std::int64_t index) const {
  const std::int64_t i = index / col_tiles_, j = index % col_tiles_;
  const auto row_at = [&](std::int64_t tile) { return rows_ * tile / row_tiles_; };
  // Columns are cut at multiples of 32: whole slivers, whole cache lines.
  const std::int64_t slivers = (cols_ + kWidestSliver - 1) / kWidestSliver;
  const auto col_at = [&](std::int64_t tile) { return std::min(cols_, slivers * tile / col_tiles_ * kWidestSliver); };
  return {row_at(i), row_at(i + 1) - row_at(i), col_at(j), col_at(j + 1) - col_at(j)};
}

std::size_t block_gemm_scratch_bytes() {
  return kAlignment + static_cast<std::size_t>(kPanelFloats + kSliverFloats) * sizeof(float) +
         kBlockRows * sizeof(float*);
}

void block_gemm(const BlockGemm& product, const Range2d& range, void* scratch) {
  const auto address = (reinterpret_cast<std::uintptr_t>(scratch) + kAlignment - 1) / kAlignment * kAlignment;
  RETORT_SIMD_SELECT(run_block_gemm)(product, range, reinterpret_cast<float*>(address));
}

}  // namespace retort::cpu
#endif  // HWY_ONCE
