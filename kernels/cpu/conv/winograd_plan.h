// What the files of the Winograd convolution share: the tiles of an image, and how the passes cut their workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/cpu/range.h"
#include "kernels/threads.h"

namespace retort::cpu {

inline constexpr std::int64_t kWinogradOut = 4, kWinogradIn = 6;              ///< a tile's side, and what it sees
inline constexpr std::int64_t kWinogradProducts = kWinogradIn * kWinogradIn;  ///< matrix products
inline constexpr std::int64_t kLineFloats = 16;                               ///< of a cache line
inline constexpr std::int64_t kFilterDepths = 16;                             ///< of a filter, transformed at a time
inline constexpr std::int64_t kGroupCols = 64;  ///< columns whose products are held before they are transformed back
/// Below this many channels on either side the transforms cost more than the products save.
inline constexpr std::int64_t kMinChannels = 32;

/// Whether these algorithms serve the convolution, its taps and padding left aside.
inline bool winograd_serves(const Conv2dGeometry& g) {
  return winograd_enabled() && g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 && g.dilation_w == 1 &&
         g.groups == 1 && std::min(g.c, g.k) >= kMinChannels;
}

/// Depths of an operand that share a 32-bit lane: products of bf16 take them in pairs.
template <class T>
inline constexpr std::int64_t kLaneDepths = 4 / static_cast<std::int64_t>(sizeof(T));

/// Floats, or as many other lanes of 32 bits, rounded up to an odd number of cache lines: runs so far apart do not fall
/// into the same sets of the cache.
constexpr std::int64_t odd_lines(std::int64_t floats) { return (divide_up(floats, kLineFloats) | 1) * kLineFloats; }

inline float* aligned_to_line(void* workspace) {
  constexpr std::uintptr_t kLine = kLineFloats * sizeof(float);
  return reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(workspace) + kLine - 1) / kLine * kLine);
}

/// How fprop and dgrad are cut: into tasks of some tiles and some groups of y's columns. Where one task holds all
/// tiles, the threads share the columns instead, so that each filter is read by one thread alone.
class WinogradTasks {
 public:
  WinogradTasks(std::int64_t tiles, std::int64_t cols)
      : tiles_(tiles), groups_(divide_up(cols, kGroupCols)), blocks_(divide_up(tiles, kTiles)) {
    const std::int64_t threads = num_threads();
    if (blocks_ > 1) blocks_ = std::min(divide_up(blocks_, threads) * threads, tiles / kMinTiles);
    column_shares_ = std::min(groups_, divide_up(threads, blocks_));
  }
  std::int64_t size() const { return blocks_ * column_shares_; }
  Range tiles(std::int64_t index) const { return share_of(tiles_, blocks_, index / column_shares_); }
  Range groups(std::int64_t index) const { return share_of(groups_, column_shares_, index % column_shares_); }
  std::int64_t max_tiles() const { return divide_up(tiles_, blocks_); }

 private:
  // More tiles reread the filters less often, fewer leave their inputs and products in the L2 cache.
  static constexpr std::int64_t kTiles = 56, kMinTiles = 14;

  std::int64_t tiles_, groups_, blocks_, column_shares_;
};

/// How fprop and dgrad cut their workspace. The transformed filters come first, in lanes:
///   [product][sliver of columns][block of taps][channel_lanes][the sliver's columns]
/// then of each thread the transformed inputs of a task, its products, and a pixel of zeros:
///   [product][block of taps][block of channels][tile][kPanelRowStride], [product][tile][kGroupCols]
template <class T>
struct WinogradProductPlan {
  /// c: channels that are summed over; k: columns.
  WinogradProductPlan(std::int64_t products, std::int64_t tap_blocks, std::int64_t tiles, std::int64_t c,
                      std::int64_t k)
      : tasks(tiles, k),
        products(products),
        tap_blocks(tap_blocks),
        channels(c),
        cols(k),
        channel_blocks(divide_up(c, kBlockDepth<T>)),
        block_channels(divide_up(divide_up(c, channel_blocks), kLineFloats) * kLineFloats),
        channel_lanes(divide_up(c, kLaneDepths<T>)),
        filter_step(odd_lines(divide_up(k, kWidestSliver) * kWidestSliver * tap_blocks * channel_lanes)),
        block_step(tasks.max_tiles() * kPanelRowStride<T>),
        panel_step(odd_lines(tap_blocks * channel_blocks * block_step / kLaneDepths<T>) * kLaneDepths<T>),
        product_step(odd_lines(tasks.max_tiles() * kGroupCols)) {}

  std::int64_t filter_floats() const { return products * filter_step; }
  std::int64_t panel_floats() const { return products * panel_step / kLaneDepths<T>; }
  std::int64_t thread_floats() const { return panel_floats() + products * product_step + odd_lines(channels); }
  std::size_t bytes() const {
    return static_cast<std::size_t>(filter_floats() + num_threads() * thread_floats() + kLineFloats) * sizeof(float);
  }

  WinogradTasks tasks;
  std::int64_t products, tap_blocks, channels, cols;
  std::int64_t channel_blocks, block_channels;
  std::int64_t channel_lanes;           ///< of a block of taps
  std::int64_t filter_step;             ///< lanes from one of the transformed filters to the next
  std::int64_t block_step, panel_step;  ///< elements of a block of the inputs, and to the next of the products'
  std::int64_t product_step;            ///< floats to the next of the products
};

/// Runs fprop or dgrad: first the `filter_tasks` that transform the filters, filter_task(index, filters), then the
/// plan's, task(index, filters, scratch).
template <class T, class FilterTask, class Task>
void run_product_tasks(const WinogradProductPlan<T>& plan, std::int64_t filter_tasks, void* workspace,
                       const FilterTask& filter_task, const Task& task) {
  float* const filters = aligned_to_line(workspace);
  float* const scratch = filters + plan.filter_floats();
  parallel_for(filter_tasks, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) filter_task(i, filters);
  });
  parallel_tasks(plan.tasks.size(), [&](std::int64_t index, int thread) {
    task(index, filters, scratch + thread * plan.thread_floats());
  });
}

/// How wgrad is cut: into tasks of some of the filter's rows (input channels) and columns (output channels), which
/// share nothing. Each runs over all tiles, a stretch at a time: it transforms its channels of x and dy, adds to its
/// products, and transforms these back at the end. All of it stays in a core's L2 cache, at the price of transforming x
/// and dy once for every block of the other's channels.
class WinogradWgradTasks {
 public:
  static constexpr std::int64_t kStretch = 32;  ///< lanes of depth

  WinogradWgradTasks(std::int64_t rows, std::int64_t cols)
      : rows_(rows), cols_(cols), row_shares_(divide_up(rows, kRows)), col_shares_(divide_up(cols, kCols)) {
    const std::int64_t row_groups = divide_up(rows, kRowGroup), col_groups = divide_up(cols, kColGroup);
    while (size() < num_threads() && (row_shares_ < row_groups || col_shares_ < col_groups))
      ++(row_shares_ < row_groups ? row_shares_ : col_shares_);
  }
  std::int64_t size() const { return row_shares_ * col_shares_; }
  Range rows(std::int64_t index) const { return whole_groups(rows_, kRowGroup, row_shares_, index / col_shares_); }
  Range cols(std::int64_t index) const { return whole_groups(cols_, kColGroup, col_shares_, index % col_shares_); }
  /// Of one task, whole vectors of rows and slivers of columns.
  std::int64_t max_rows() const { return divide_up(divide_up(rows_, kRowGroup), row_shares_) * kRowGroup; }
  std::int64_t max_cols() const { return divide_up(divide_up(cols_, kColGroup), col_shares_) * kColGroup; }

 private:
  static constexpr std::int64_t kRows = 64, kCols = 128;
  static constexpr std::int64_t kRowGroup = kLineFloats, kColGroup = kWidestSliver;  // a vector, a sliver: not cut

  /// Share `index` of [0, total), cut between groups of `group`.
  static Range whole_groups(std::int64_t total, std::int64_t group, std::int64_t shares, std::int64_t index) {
    const Range groups = share_of(divide_up(total, group), shares, index);
    return {groups.begin * group, std::min(total, groups.end * group)};
  }

  std::int64_t rows_, cols_, row_shares_, col_shares_;
};

/// How a thread's scratch is cut for a task of wgrad, in floats or other lanes of 32 bits.
struct WinogradWgradPlan {
  WinogradWgradPlan(std::int64_t products, std::int64_t tap_blocks, std::int64_t c, std::int64_t k)
      : tasks(c, k),
        products(products),
        rows(tasks.max_rows()),
        cols(tasks.max_cols()),
        x_row(tap_blocks * rows),
        x_step(odd_lines(WinogradWgradTasks::kStretch * x_row)),
        dy_step(odd_lines(WinogradWgradTasks::kStretch * cols)),
        product_step(odd_lines(x_row * cols)) {}

  std::int64_t thread_floats() const { return products * (x_step + dy_step + product_step) + std::max(rows, cols); }
  std::size_t bytes() const {
    return static_cast<std::size_t>(num_threads() * thread_floats() + kLineFloats) * sizeof(float);
  }

  WinogradWgradTasks tasks;
  std::int64_t products;
  std::int64_t rows, cols;                     ///< of a task, at most
  std::int64_t x_row;                          ///< of a depth of x: its blocks of taps, of each the channels
  std::int64_t x_step, dy_step, product_step;  ///< to the next of the products
};

/// A task of wgrad: its rows and columns of dw, and its scratch.
template <class T>
struct WinogradWgradBlock {
  WinogradWgradBlock(const WinogradWgradPlan& plan, std::int64_t index, float* scratch)
      : rows(plan.tasks.rows(index)),
        cols(plan.tasks.cols(index)),
        x(scratch),
        dy(x + plan.products * plan.x_step),
        products(dy + plan.products * plan.dy_step),
        zeros(reinterpret_cast<T*>(products + plan.products * plan.product_step)) {
    std::fill_n(zeros, std::max(plan.rows, plan.cols), T(0.0f));
  }

  Range rows, cols;
  float *x, *dy;    ///< transformed, in lanes: [product][depth][x_row], [product][depth][cols of the plan]
  float* products;  ///< [product][x_row][cols of the plan]
  T* zeros;         ///< a pixel outside the image
};

/// A convolution as its tiles see it: y [n, p, q, k] from x [n, h, w, c], for dgrad with the roles of x and y
/// exchanged.
struct TiledImage {
  std::int64_t n, h, w, c, p, q, k, pad_h, pad_w;

  std::int64_t tiles_h() const { return divide_up(p, kWinogradOut); }
  std::int64_t tiles_w() const { return divide_up(q, kWinogradOut); }
  std::int64_t tiles() const { return n * tiles_h() * tiles_w(); }
};

inline TiledImage forward_tiles(const Conv2dGeometry& g) {
  return {.n = g.n, .h = g.h, .w = g.w, .c = g.c, .p = g.p(), .q = g.q(), .k = g.k, .pad_h = g.pad_h, .pad_w = g.pad_w};
}
inline TiledImage backward_tiles(const Conv2dGeometry& g) {
  return {.n = g.n,
          .h = g.p(),
          .w = g.q(),
          .c = g.k,
          .p = g.h,
          .q = g.w,
          .k = g.c,
          .pad_h = 2 - g.pad_h,
          .pad_w = 2 - g.pad_w};
}

/// The first output of a tile: image, row, column.
struct TilePlace {
  std::int64_t image, row, column;
};
inline TilePlace place_of(const TiledImage& t, std::int64_t tile) {
  const std::int64_t column = tile % t.tiles_w(), row = tile / t.tiles_w();
  return {row / t.tiles_h(), row % t.tiles_h() * kWinogradOut, column * kWinogradOut};
}

/// Where the pixels lie that a square of side kSide covers from (row, column) on in an image [h, w, channels]; outside
/// the image, `zeros` [channels].
template <class T, int kSide>
struct Square {
  Square(const T* image, std::int64_t h, std::int64_t w, std::int64_t channels, std::int64_t row, std::int64_t column,
         const T* zeros) {
    for (std::int64_t i = row; i < row + kSide; ++i)
      for (std::int64_t j = column; j < column + kSide; ++j) {
        const bool inside = i >= 0 && i < h && j >= 0 && j < w;
        pixels[(i - row) * kSide + j - column] = inside ? image + (i * w + j) * channels : zeros;
      }
  }
  const T* pixels[kSide * kSide];
};

inline WinogradWgradPlan wgrad_plan_for(const TiledImage& t) { return {kWinogradProducts, /*tap_blocks=*/1, t.c, t.k}; }

}  // namespace retort::cpu
