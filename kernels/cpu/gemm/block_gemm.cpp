// The blocked product of f32 operands (see block_gemm.h), and how all products are cut into tasks.
#include "kernels/cpu/gemm/block_gemm.h"

#include <algorithm>

#include "kernels/cpu/range.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/block_gemm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/gemm/block_gemm-inl.h"
#include "kernels/cpu/gemm/microkernel-inl.h"
#include "kernels/cpu/gemm/pack-inl.h"
#include "kernels/cpu/simd/vector_loop-inl.h"

#ifndef RETORT_BLOCK_GEMM_CONSTANTS_
#define RETORT_BLOCK_GEMM_CONSTANTS_
namespace retort::cpu {
namespace {

// Up to this many rows packing B would cost more than it saves: it is read in place, a few rows of B at a time, each in
// one long stream.
constexpr std::int64_t kFewRows = 28;
constexpr std::int64_t kDirectDepth = 32;
constexpr std::int64_t kDirectCols = 2048;

constexpr std::int64_t kRowStride = kPanelRowStride<float>;
constexpr std::int64_t kPanelFloats = kBlockDepth<float> * (kBlockRows + kPanelSlack<float>)+kPanelSlack<float>;
constexpr std::int64_t kMaxCols = 512;  // of a packed block of B
constexpr std::int64_t kPackedFloats = kBlockDepth<float> * kMaxCols;
constexpr std::int64_t kMinTaskRows = 96;
// Of a task that finds B packed: rows, and multiply-adds, that repay starting it; and what it reads of B, which stays
// in the L2 cache.
constexpr std::int64_t kPackedTaskRows = 28;
constexpr std::int64_t kPackedTaskWork = 1 << 18;
constexpr std::int64_t kPackedTaskFloats = 1 << 15;
constexpr std::size_t kAlignment = 64;
static_assert(kPanelFloats * sizeof(float) % kAlignment == 0);
static_assert(kFewRows * kRowStride <= kPanelFloats);
static_assert(kFewRows * kDirectCols + kDirectDepth * kWidestSliver <= kPackedFloats);

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// Packs rows [first, first + depth) of columns [col, col + cols), run by run.
void pack_sliver(const StoredB<float>& b, std::int64_t first, std::int64_t depth, std::int64_t col, std::int64_t cols,
                 std::int64_t width, float* target) {
  for (const std::int64_t end = first + depth; first < end;) {
    const std::int64_t run = b.run_length > 0 ? first / b.run_length : 0, l = first - run * b.run_length;
    const std::int64_t count = b.run_length > 0 ? std::min(end - first, b.run_length - l) : end - first;
    const float* source = b.data + run / b.inner_runs * b.outer_step + run % b.inner_runs * b.inner_step;
    if (b.transposed)
      pack_columns(source + col * b.stride + l, b.stride, count, cols, width, target);
    else
      pack_rows(source + l * b.stride + col, b.stride, count, cols, width, target);
    first += count;
    target += count * width;
  }
}

/// A block of A, loaded into a panel or where it lies, with the rows of C that it contributes to.
struct Block {
  std::int64_t row, depths;
  const float* panel;
  std::int64_t panel_stride;  ///< see Tile::a_stride
  float* const* c;
  float* const* start = nullptr;                ///< see Tile
  bool accumulate = false;                      ///< C holds the sum of earlier blocks
  bool finish = false;                          ///< the last block: the epilogue follows
  Prefetch *next_a = nullptr, *next = nullptr;  ///< what is fetched meanwhile
};

/// Columns of B, packed or in place.
struct Sliver {
  std::int64_t col, cols;
  const float* b;
  std::int64_t b_stride;
};

/// Columns that a sliver takes in the packed buffer.
std::int64_t sliver_width(std::int64_t cols) { return cols <= kLanes ? kLanes : kSliver; }

std::int64_t count_panels(std::int64_t rows) { return divide_up(rows, kTileRows); }

/// Runs some rows of a block, at most kTileRows, against a sliver.
void run_panel(const BlockGemm<float>& product, const Block& block, const Range& rows, const Sliver& sliver) {
  const std::int64_t begin = rows.begin;
  const bool row_major = product.layout == PanelLayout::row_major;
  Tile tile = {
      .a = block.panel + (row_major ? begin * block.panel_stride : begin),
      .a_stride = block.panel_stride,
      .b = sliver.b,
      .b_stride = sliver.b_stride,
      .depth = block.depths,
      .c = block.c + begin,
      .col = sliver.col,
      .cols = sliver.cols,
      .start = block.start != nullptr ? block.start + begin : nullptr,
      .accumulate = block.accumulate,
      .epilogue = block.finish ? &product.epilogue : nullptr,
      .ahead = block.next_a != nullptr ? PrefetchTurns(*block.next_a, *block.next, block.depths) : PrefetchTurns()};
  if (block.finish && product.epilogue.residual != nullptr) {
    tile.residual = product.epilogue.residual + (block.row + begin) * product.residual_stride + sliver.col;
    tile.residual_stride = product.residual_stride;
  }
  const auto& narrow_tiles = row_major ? kTiles<1, true> : kTiles<1, false>;
  const auto& wide_tiles = row_major ? kTiles<2, true> : kTiles<2, false>;
  (sliver.cols <= kLanes ? narrow_tiles : wide_tiles)[static_cast<std::size_t>(rows.size() - 1)](tile);
}

/// A thread's scratch, cut up.
struct Scratch {
  explicit Scratch(float* memory)
      : panel(memory), packed(panel + kPanelFloats), addresses(reinterpret_cast<float**>(packed + kPackedFloats)) {}
  float* panel;
  float* packed;
  float** addresses;
};

/// One row of C: B is read in place, some rows at a time from end to end, as memory gives it fastest. The sums are
/// those of run_packed, bit for bit.
void run_row(const BlockGemm<float>& product, const Range2d& range, const Scratch& scratch) {
  const F32 d;
  const std::int64_t blocks = divide_up(product.depth, kBlockDepth<float>), step = product.b.stride;
  const std::int64_t a_step = product.layout == PanelLayout::row_major ? 1 : 1 + kPanelSlack<float>;
  const Epilogue<float>& epilogue = product.epilogue;
  product.locate_rows(range.row, 1, scratch.addresses);
  float* const c = scratch.addresses[0];
  const auto residual = [&](std::int64_t col, std::int64_t cols, int v) HWY_ATTR {
    return load_columns(d, epilogue.residual + range.row * product.residual_stride + col, v, cols);
  };
  for (std::int64_t first = range.col; first < range.col + range.cols; first += kDirectCols) {
    const std::int64_t end = std::min(first + kDirectCols, range.col + range.cols);
    float* const sums = scratch.packed - first;
    for (std::int64_t i = 0; i < blocks; ++i) {
      const Range depth = share_of(product.depth, blocks, i);
      product.load_panel({range.row, 1, depth.begin, depth.size(), scratch.panel, a_step});
      std::fill(sums + first, sums + end, 0.0f);
      const float* a = scratch.panel;
      const float* from = product.b.data + depth.begin * step;
      const auto add_rows = [&](auto rows) HWY_ATTR {
        constexpr int kRows = decltype(rows)::value;
        Vector factors[kRows];
#pragma GCC unroll 8
        for (int l = 0; l < kRows; ++l) factors[l] = hn::Set(d, a[l * a_step]);
        vector_loop(d, first, end, [&](auto lanes, std::int64_t col) HWY_ATTR {
          Vector sum = lanes.load(d, sums + col);
#pragma GCC unroll 8
          for (int l = 0; l < kRows; ++l) sum = hn::MulAdd(factors[l], lanes.load(d, from + l * step + col), sum);
          lanes.store(d, sum, sums + col);
        });
        a += kRows * a_step;
        from += kRows * step;
      };
      std::int64_t l = 0;
      for (; l + 8 <= depth.size(); l += 8) add_rows(std::integral_constant<int, 8>());
      for (; l < depth.size(); ++l) add_rows(std::integral_constant<int, 1>());
      for (std::int64_t col = first; col < end; col += kLanes) {
        const std::int64_t cols = end - col;
        Vector sum[1][1] = {{load_columns(d, sums + col, 0, cols)}};
        if (i > 0) sum[0][0] = hn::Add(sum[0][0], load_columns(d, c + col, 0, cols));
        if (i == blocks - 1)
          finish_sums<1, 1>(
              epilogue, col, cols, epilogue.residual != nullptr,
              [&](int, int v) HWY_ATTR { return residual(col, cols, v); }, sum);
        store_columns(d, sum[0][0], c + col, 0, cols);
      }
    }
  }
}

/// Multiplies with B in place. The sums are those of run_packed, bit for bit, so that a sample's result does not depend
/// on the size of its batch: each block of depths is summed on its own, in steps that continue from the sums of the
/// step before.
void run_direct(const BlockGemm<float>& product, const Range2d& range, const Scratch& scratch) {
  const std::int64_t blocks = divide_up(product.depth, kBlockDepth<float>), rows = range.rows;
  const bool row_major = product.layout == PanelLayout::row_major;
  const std::int64_t stride = row_major ? kRowStride : rows + kPanelSlack<float>;
  float* const partial = scratch.packed + kDirectDepth * kWidestSliver;
  float* partial_rows[kFewRows];
  product.locate_rows(range.row, rows, scratch.addresses);
  for (std::int64_t first = range.col; first < range.col + range.cols; first += kDirectCols) {
    const std::int64_t end = std::min(first + kDirectCols, range.col + range.cols);
    for (std::int64_t i = 0; i < rows; ++i) partial_rows[i] = partial + i * kDirectCols - first;
    for (std::int64_t i = 0; i < blocks; ++i) {
      const Range depth = share_of(product.depth, blocks, i);
      product.load_panel({range.row, rows, depth.begin, depth.size(), scratch.panel, stride});
      const std::int64_t steps = divide_up(depth.size(), kDirectDepth);
      for (std::int64_t step = 0; step < steps; ++step) {
        const Range piece = share_of(depth.size(), steps, step);
        const bool last = step == steps - 1;
        const Block block{.row = range.row,
                          .depths = piece.size(),
                          .panel = scratch.panel + piece.begin * (row_major ? 1 : stride),
                          .panel_stride = stride,
                          .c = last ? scratch.addresses : partial_rows,
                          .start = step > 0 ? partial_rows : nullptr,
                          .accumulate = last && i > 0,
                          .finish = last && i == blocks - 1};
        const float* b = product.b.data + (depth.begin + piece.begin) * product.b.stride;
        for (std::int64_t col = first; col < end; col += kSliver) {
          const std::int64_t cols = std::min(kSliver, end - col), width = sliver_width(cols);
          Sliver sliver{col, cols, b + col, product.b.stride};
          if (cols != width) {  // whole vectors would read past the end
            pack_sliver(product.b, depth.begin + piece.begin, piece.size(), col, cols, width, scratch.packed);
            sliver.b = scratch.packed;
            sliver.b_stride = width;
          }
          Shares panels(rows, count_panels(rows));  // balanced, so that none is tiny
          for (std::int64_t panel = 0; panel < count_panels(rows); ++panel)
            run_panel(product, block, panels.next(), sliver);
        }
      }
    }
  }
}

/// Whether a row-major A is multiplied where it lies. Rows at a distance of half a page or a multiple would share few
/// of the L1 cache's sets.
bool in_place(const BlockGemm<float>& product) {
  constexpr std::int64_t kHalfPage = 2048 / sizeof(float);
  return product.layout == PanelLayout::row_major && product.a.data != nullptr && product.a.stride % kHalfPage != 0;
}

std::int64_t padded_columns(std::int64_t cols) { return divide_up(cols, kLanes) * kLanes; }

/// A block of B, packed: depth blocks [first, last) of columns [begin, end), slivers of a depth block one after the
/// other.
struct PackedB {
  std::int64_t first, last, begin, end;
  /// Where slivers lie: `data` has depth `depth` of column `col`, and `cols` columns a depth, of which the block may be
  /// a part.
  const float* data = nullptr;
  std::int64_t depth = 0, col = 0, cols = 0;

  const float* sliver(const Range& depths, std::int64_t at) const {
    return data + (depths.begin - depth) * cols + (at - col) * depths.size();
  }
};

/// Packs depths of columns [begin, end) to `target` and returns its end.
float* pack_block(const StoredB<float>& b, const Range& depth, std::int64_t begin, std::int64_t end, float* target) {
  for (std::int64_t col = begin; col < end; col += kSliver) {
    const std::int64_t cols = std::min(kSliver, end - col), width = sliver_width(cols);
    pack_sliver(b, depth.begin, depth.size(), col, cols, width, target);
    target += width * depth.size();
  }
  return target;
}

/// Multiplies all rows of the range with a packed block of B, while the next block is fetched.
void run_rows(const BlockGemm<float>& product, const Range2d& range, const PackedB& b, std::int64_t depth_blocks,
              const Scratch& scratch, Prefetch& next_b) {
  // Row-major panels are loaded one tile at a time and stay in the L1 cache. Depth-major ones, whose loading is cheaper
  // in long runs of rows, stay in the L2 cache.
  const bool row_major = product.layout == PanelLayout::row_major, lies_ready = in_place(product);
  const std::int64_t row_blocks = divide_up(range.rows, row_major ? kTileRows : kBlockRows),
                     slivers = divide_up(b.end - b.begin, kSliver);
  const Shares all_depths(product.depth, depth_blocks, b.first);
  const Range first_depth = Shares(all_depths).next();
  Shares all_rows(range.rows, row_blocks);
  Range next_rows = all_rows.next();
  for (std::int64_t i = 0; i < row_blocks; ++i) {
    const bool last_rows = i == row_blocks - 1;
    const std::int64_t row = range.row + next_rows.begin, rows = next_rows.size();
    if (!last_rows) next_rows = all_rows.next();
    const std::int64_t stride = lies_ready ? product.a.stride : row_major ? kRowStride : rows + kPanelSlack<float>;
    product.locate_rows(row, rows, scratch.addresses);
    const std::int64_t panel_count = row_major ? 1 : count_panels(rows), tiles = panel_count * slivers;
    Prefetch next_residual;  // when there is no next block of B
    if (b.last == depth_blocks && !last_rows)
      next_residual = prefetch_residual(product, range.row + next_rows.begin, next_rows.size(), b.begin,
                                        b.end - b.begin, tiles * (b.last - b.first));
    Shares depths = all_depths;
    Range next_depth = depths.next();
    for (std::int64_t l = b.first; l < b.last; ++l) {
      const Range depth = next_depth;
      const bool last_depth = l == b.last - 1;
      next_depth = last_depth ? first_depth : depths.next();
      const float* panel_of_a = scratch.panel;
      if (lies_ready)
        panel_of_a = product.a.data + row * stride + depth.begin;
      else
        product.load_panel({row, rows, depth.begin, depth.size(), scratch.panel, stride});
      Prefetch next_a;
      if (!last_depth)
        next_a = prefetch_a(product, row, rows, next_depth.begin, next_depth.size(), tiles);
      else if (!last_rows)
        next_a = prefetch_a(product, range.row + next_rows.begin, next_rows.size(), next_depth.begin, next_depth.size(),
                            tiles);
      const Block block{.row = row,
                        .depths = depth.size(),
                        .panel = panel_of_a,
                        .panel_stride = stride,
                        .c = scratch.addresses,
                        .accumulate = l > 0,
                        .finish = l == depth_blocks - 1,
                        .next_a = &next_a,
                        .next = b.last == depth_blocks ? &next_residual : &next_b};
      Shares panels(rows, panel_count);
      for (std::int64_t panel = 0; panel < panel_count; ++panel) {
        const Range panel_rows = panels.next();
        for (std::int64_t col = b.begin; col < b.end; col += kSliver) {
          const std::int64_t cols = std::min(kSliver, b.end - col);
          run_panel(product, block, panel_rows, {col, cols, b.sliver(depth, col), sliver_width(cols)});
        }
      }
    }
  }
}

void run_packed(const BlockGemm<float>& product, const Range2d& range, const Scratch& scratch) {
  const std::int64_t depth_blocks = divide_up(product.depth, kBlockDepth<float>);
  const std::int64_t block_depth = divide_up(product.depth, depth_blocks);
  const std::int64_t capacity = kPackedFloats / (product.layout == PanelLayout::row_major ? 1 : 2);
  const std::int64_t max_cols = capacity / kBlockDepth<float>;
  for (std::int64_t col = range.col; col < range.col + range.cols; col += max_cols) {
    const std::int64_t end = std::min(col + max_cols, range.col + range.cols), padded = padded_columns(end - col);
    const std::int64_t group = capacity / (block_depth * padded);
    for (std::int64_t first = 0; first < depth_blocks; first += group) {
      PackedB b{first, std::min(first + group, depth_blocks), col, end};
      Prefetch next_b;
      if (product.packed != nullptr) {
        b.data = product.packed, b.cols = padded_columns(product.cols);
      } else {
        b.data = scratch.packed, b.cols = padded, b.col = col;
        b.depth = share_of(product.depth, depth_blocks, first).begin;
        float* packed = scratch.packed;
        for (std::int64_t l = b.first; l < b.last; ++l)
          packed = pack_block(product.b, share_of(product.depth, depth_blocks, l), col, end, packed);
        if (b.last < depth_blocks) {
          const Range from = share_of(product.depth, depth_blocks, b.last);
          const Range to = share_of(product.depth, depth_blocks, std::min(b.last + group, depth_blocks) - 1);
          next_b = prefetch_b(product, from.begin, to.end - from.begin, col, end - col,
                              count_panels(range.rows) * (b.last - b.first) * divide_up(end - col, kSliver));
        }
      }
      run_rows(product, range, b, depth_blocks, scratch, next_b);
    }
  }
}

}  // namespace

template <>
void block_gemm<FloatArithmetic, float>(const BlockGemm<float>& product, const Range2d& range, void* memory) {
  const auto address = (reinterpret_cast<std::uintptr_t>(memory) + kAlignment - 1) / kAlignment * kAlignment;
  const Scratch scratch(reinterpret_cast<float*>(address));
  const bool direct =
      product.packed == nullptr && product.rows <= kFewRows && !product.b.transposed && product.b.run_length == 0;
  (direct ? product.rows == 1 ? run_row : run_direct : run_packed)(product, range, scratch);
}

std::int64_t packed_floats(std::int64_t depth, std::int64_t cols) { return depth * padded_columns(cols); }

void pack_all(const StoredB<float>& b, std::int64_t depth, std::int64_t cols, float* target) {
  const std::int64_t blocks = divide_up(depth, kBlockDepth<float>);
  for (std::int64_t l = 0; l < blocks; ++l) target = pack_block(b, share_of(depth, blocks, l), 0, cols, target);
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {

TaskGrid::TaskGrid(std::int64_t rows, std::int64_t cols, std::int64_t products)
    : rows_(rows), cols_(cols), row_tiles_(divide_up(rows, kTaskRows)), col_tiles_(1) {
  const std::int64_t threads = num_threads();
  // A lone product gives every thread the same number of tasks, unless that would leave too few rows to repay packing
  // B; then columns are cut too.
  if (products == 1) row_tiles_ = divide_up(row_tiles_, threads) * threads;
  row_tiles_ = std::clamp<std::int64_t>(rows / kMinTaskRows, 1, row_tiles_);
  while (products * row_tiles_ * col_tiles_ < threads && cols / (col_tiles_ + 1) >= 2 * kWidestSliver) ++col_tiles_;
}

TaskGrid TaskGrid::of_packed(std::int64_t rows, std::int64_t cols, std::int64_t depth) {
  TaskGrid grid;
  grid.rows_ = rows;
  grid.cols_ = cols;
  const std::int64_t threads = num_threads(), slivers = divide_up(cols, kWidestSliver),
                     fitting = std::max<std::int64_t>(1, kPackedTaskFloats / (depth * kWidestSliver));
  grid.col_tiles_ = divide_up(slivers, fitting);
  const std::int64_t task_cols = divide_up(cols, grid.col_tiles_);
  grid.row_tiles_ = divide_up(rows, std::max(kPackedTaskRows, kPackedTaskWork / (task_cols * depth)));
  // As many for each thread, as far as there are rows: no task is empty.
  if (grid.size() > 1) grid.row_tiles_ = std::min(rows, divide_up(grid.row_tiles_, threads) * threads);
  return grid;
}

Range2d TaskGrid::operator[](std::int64_t index) const {
  const std::int64_t i = index / col_tiles_, j = index % col_tiles_;
  const auto row_at = [&](std::int64_t tile) { return rows_ * tile / row_tiles_; };
  // Columns are cut at multiples of 32: whole slivers, whole cache lines.
  const std::int64_t slivers = divide_up(cols_, kWidestSliver);
  const auto col_at = [&](std::int64_t tile) { return std::min(cols_, slivers * tile / col_tiles_ * kWidestSliver); };
  return {row_at(i), row_at(i + 1) - row_at(i), col_at(j), col_at(j + 1) - col_at(j)};
}

template <>
std::size_t block_gemm_scratch_bytes<float>() {
  return kAlignment + static_cast<std::size_t>(kPanelFloats + kPackedFloats) * sizeof(float) +
         kBlockRows * sizeof(float*);
}

}  // namespace retort::cpu
#endif  // HWY_ONCE
