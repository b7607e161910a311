// What the files of the Winograd convolution share: the tiles of an image, and how the passes cut their workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/threads.h"

namespace retort::cpu {

inline constexpr std::int64_t kWinogradOut = 4, kWinogradIn = 6;              ///< a tile's side, and what it sees
inline constexpr std::int64_t kWinogradProducts = kWinogradIn * kWinogradIn;  ///< matrix products
inline constexpr std::int64_t kLineFloats = 16;                               ///< of a cache line
inline constexpr std::int64_t kWidestSliver = 32;                             ///< columns
inline constexpr std::int64_t kFilterDepths = 16;                             ///< of a filter, transformed at a time
inline constexpr std::int64_t kGroupCols = 64;  ///< columns whose products are held before they are transformed back
/// Below this many channels on either side the transforms cost more than the products save.
inline constexpr std::int64_t kLeastChannels = 32;

/// Whether a convolution is one that these algorithms know, but for its taps and padding.
inline bool winograd_serves(const Conv2dGeometry& g) {
  return winograd_enabled() && g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 && g.dilation_w == 1 &&
         g.groups == 1 && std::min(g.c, g.k) >= kLeastChannels;
}

/// Depths of an operand that share a 32-bit lane: products of bf16 take them in pairs.
template <class T>
inline constexpr std::int64_t kLaneDepths = 4 / static_cast<std::int64_t>(sizeof(T));

constexpr std::int64_t winograd_divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Floats, or as many other lanes of 32 bits, rounded up to an odd number of cache lines: runs so far apart do not fall
/// into the same sets of the cache.
constexpr std::int64_t odd_lines(std::int64_t floats) {
  return (winograd_divide_up(floats, kLineFloats) | 1) * kLineFloats;
}

inline float* aligned_to_line(void* workspace) {
  constexpr std::uintptr_t kLine = kLineFloats * sizeof(float);
  return reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(workspace) + kLine - 1) / kLine * kLine);
}

struct Span {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

/// Part `index` of [0, total) cut into `parts` of about the same size.
inline Span cut(std::int64_t total, std::int64_t parts, std::int64_t index) {
  return {total * index / parts, total * (index + 1) / parts};
}

/// How fprop and dgrad are cut: into tasks of some tiles and some groups of y's columns. Tiles that fit one task are
/// not shared out, but columns: each filter is then read by one thread alone.
class WinogradTasks {
 public:
  WinogradTasks(std::int64_t tiles, std::int64_t cols)
      : tiles_(tiles), groups_(winograd_divide_up(cols, kGroupCols)), blocks_(winograd_divide_up(tiles, kTiles)) {
    const std::int64_t threads = num_threads();
    if (blocks_ > 1) blocks_ = std::min(winograd_divide_up(blocks_, threads) * threads, tiles / kLeastTiles);
    parts_ = std::min(groups_, winograd_divide_up(threads, blocks_));
  }
  std::int64_t size() const { return blocks_ * parts_; }
  Span tiles(std::int64_t index) const { return cut(tiles_, blocks_, index / parts_); }
  Span groups(std::int64_t index) const { return cut(groups_, parts_, index % parts_); }
  std::int64_t most_tiles() const { return winograd_divide_up(tiles_, blocks_); }

 private:
  // More tiles reread the filters less often, fewer leave their inputs and products in the L2 cache.
  static constexpr std::int64_t kTiles = 56, kLeastTiles = 14;

  std::int64_t tiles_, groups_, blocks_, parts_;
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
        channel_blocks(winograd_divide_up(c, kBlockDepth<T>)),
        block_channels(winograd_divide_up(winograd_divide_up(c, channel_blocks), kLineFloats) * kLineFloats),
        channel_lanes(winograd_divide_up(c, kLaneDepths<T>)),
        filter_step(odd_lines(winograd_divide_up(k, kWidestSliver) * kWidestSliver * tap_blocks * channel_lanes)),
        block_step(tasks.most_tiles() * kPanelRowStride<T>),
        panel_step(odd_lines(tap_blocks * channel_blocks * block_step / kLaneDepths<T>) * kLaneDepths<T>),
        product_step(odd_lines(tasks.most_tiles() * kGroupCols)) {}

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

/// Runs fprop or dgrad: filter_task(index, filters) for each of the parts that the filters are transformed in, then
/// task(index, filters, scratch) for those of the plan.
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
      : rows_(rows), cols_(cols), row_parts_(parts(rows, kRows)), col_parts_(parts(cols, kCols)) {
    while (size() < num_threads() && (row_parts_ < parts(rows, kRowGroup) || col_parts_ < parts(cols, kColGroup)))
      ++(row_parts_ < parts(rows, kRowGroup) ? row_parts_ : col_parts_);
  }
  std::int64_t size() const { return row_parts_ * col_parts_; }
  Span rows(std::int64_t index) const { return part(rows_, kRowGroup, row_parts_, index / col_parts_); }
  Span cols(std::int64_t index) const { return part(cols_, kColGroup, col_parts_, index % col_parts_); }
  /// Of one task, whole vectors of rows and slivers of columns.
  std::int64_t most_rows() const { return winograd_divide_up(parts(rows_, kRowGroup), row_parts_) * kRowGroup; }
  std::int64_t most_cols() const { return winograd_divide_up(parts(cols_, kColGroup), col_parts_) * kColGroup; }

 private:
  static constexpr std::int64_t kRows = 64, kCols = 128;
  static constexpr std::int64_t kRowGroup = kLineFloats, kColGroup = kWidestSliver;  // a vector, a sliver: not cut

  static std::int64_t parts(std::int64_t total, std::int64_t size) { return winograd_divide_up(total, size); }
  static Span part(std::int64_t total, std::int64_t group, std::int64_t count, std::int64_t index) {
    const Span groups = cut(parts(total, group), count, index);
    return {groups.begin * group, std::min(total, groups.end * group)};
  }

  std::int64_t rows_, cols_, row_parts_, col_parts_;
};

/// How a thread's scratch is cut for a task of wgrad, in floats or other lanes of 32 bits.
struct WinogradWgradPlan {
  WinogradWgradPlan(std::int64_t products, std::int64_t tap_blocks, std::int64_t c, std::int64_t k)
      : tasks(c, k),
        products(products),
        rows(tasks.most_rows()),
        cols(tasks.most_cols()),
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

  Span rows, cols;
  float *x, *dy;    ///< transformed, in lanes: [product][depth][x_row], [product][depth][cols of the plan]
  float* products;  ///< [product][x_row][cols of the plan]
  T* zeros;         ///< a pixel outside the image
};

/// A convolution as its tiles see it: y [n, p, q, k] from x [n, h, w, c], for dgrad with the roles of x and y
/// exchanged.
struct TiledImage {
  std::int64_t n, h, w, c, p, q, k, pad_h, pad_w;

  std::int64_t tiles_h() const { return winograd_divide_up(p, kWinogradOut); }
  std::int64_t tiles_w() const { return winograd_divide_up(q, kWinogradOut); }
  std::int64_t tiles() const { return n * tiles_h() * tiles_w(); }
};

inline TiledImage forward_tiles(const Conv2dGeometry& g) {
  return {g.n, g.h, g.w, g.c, g.p(), g.q(), g.k, g.pad_h, g.pad_w};
}
inline TiledImage backward_tiles(const Conv2dGeometry& g) {
  return {g.n, g.p(), g.q(), g.k, g.h, g.w, g.c, 2 - g.pad_h, 2 - g.pad_w};
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
