#include "kernels/cpu/winograd.h"

#include <atomic>

#include "kernels/cpu/block_gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/winograd_plan.h"
#include "kernels/table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/vector_loop-inl.h"
#include "kernels/cpu/winograd-inl.h"

#ifndef RETORT_WINOGRAD_PRODUCT_
#define RETORT_WINOGRAD_PRODUCT_
namespace retort::cpu {
namespace {

constexpr std::int64_t kRowStride =
    kBlockDepth<float> + kPanelSlack<float>;  // of the transformed inputs, as tiles want it
constexpr std::int64_t kWidestSliver = 32;
constexpr std::int64_t kGroupCols = 64;  // columns whose products are held before they are transformed back
// Tiles of a task. More reread the filters less often, fewer leave their inputs and products in the L2 cache.
constexpr std::int64_t kBlockTiles = 56;
constexpr std::int64_t kLeastTiles = 14;

/// How fprop and dgrad are cut: into tasks of some tiles and some columns of y.
struct ProductPlan {
  explicit ProductPlan(const TiledImage& t)
      : depth_blocks(winograd_divide_up(t.c, kBlockDepth<float>)),
        block_depth(winograd_divide_up(winograd_divide_up(t.c, depth_blocks), kLineFloats) * kLineFloats),
        filter_step(odd_lines(winograd_divide_up(t.k, kWidestSliver) * kWidestSliver * t.c)) {
    const std::int64_t threads = num_threads(), tiles = t.tiles();
    blocks = winograd_divide_up(winograd_divide_up(tiles, kBlockTiles), threads) * threads;
    blocks = std::clamp<std::int64_t>(tiles / kLeastTiles, 1, blocks);
    const std::int64_t groups = winograd_divide_up(t.k, kGroupCols);
    parts = std::min(groups, winograd_divide_up(threads, blocks));
    const std::int64_t block_tiles = winograd_divide_up(tiles, blocks);
    block_step = block_tiles * kRowStride;
    panel_step = odd_lines(depth_blocks * block_step);
    product_step = odd_lines(block_tiles * kGroupCols);
    zeros = odd_lines(t.c);
  }
  std::int64_t filter_floats() const { return kWinogradProducts * filter_step; }
  std::int64_t thread_floats() const { return kWinogradProducts * (panel_step + product_step) + zeros; }

  std::int64_t depth_blocks, block_depth;  ///< of the channels that are summed over
  std::int64_t filter_step;                ///< floats from one of the 36 transformed filters to the next
  std::int64_t blocks, parts;              ///< of the tiles, and of y's columns
  std::int64_t block_step, panel_step;     ///< floats of a depth block of the inputs, and to the next of the 36
  std::int64_t product_step, zeros;        ///< floats to the next of the 36 products; of a pixel outside the image
};

/// w as the product sees it: its columns, and the channels that are summed over. For dgrad it is `turned` by 180
/// degrees and columns and depth are exchanged.
struct Filter {
  const float* data;
  std::int64_t depth, cols;
  bool turned;
};

struct Product {
  TiledImage tiles;
  const float* x;
  const float* filters;  ///< transformed: [36][sliver][depth][sliver's columns]
  const float* bias;
  bool relu;
  float* y;
};

struct Span {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
Span cut(std::int64_t total, std::int64_t parts, std::int64_t index) {
  return {total * index / parts, total * (index + 1) / parts};
}

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// The filters of one sliver of columns over kLanes depths, transformed.
void transform_filters(const Filter& w, std::int64_t sliver, std::int64_t depth, std::int64_t filter_step,
                       float* filters) {
  const F32 d;
  constexpr std::int64_t kTaps = 9;
  const std::int64_t col = sliver * kSliver, cols = std::min(kSliver, w.cols - col);
  const std::int64_t depths = std::min(kLanes, w.depth - depth);
  HWY_ALIGN float turned[kTaps * kLanes * kSliver];
  if (w.turned) {
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const float* source = w.data + ((kTaps - 1 - tap) * w.cols + col) * w.depth + depth;
      for (std::int64_t j = 0; j < cols; ++j)
        for (std::int64_t l = 0; l < depths; ++l) turned[(tap * kLanes + l) * kSliver + j] = source[j * w.depth + l];
    }
  }
  const float* const taps = w.turned ? turned : w.data + depth * w.cols + col;
  const std::int64_t tap_step = w.turned ? kLanes * kSliver : w.depth * w.cols;
  const std::int64_t row_step = w.turned ? kSliver : w.cols;
  float* target = filters + (sliver * w.depth + depth) * kSliver;
  for (std::int64_t l = 0; l < depths; ++l, target += kSliver) {
    const float* row = taps + l * row_step;
    for (std::int64_t v = 0; v * kLanes < kSliver; ++v) {
      if (v * kLanes >= cols) {
        for (std::int64_t f = 0; f < kWinogradProducts; ++f)
          hn::Store(hn::Zero(d), d, target + f * filter_step + v * kLanes);
        continue;
      }
      transform_tile<FilterTransform>(
          [&](int i, int j) { return load_columns(d, row + (3 * i + j) * tap_step, v, cols); },
          // Past the cache: together the filters of a deep layer are larger, and reading them first would cost as much.
          [&](int i, int j, Vector value) {
            hn::Stream(value, d, target + (kWinogradIn * i + j) * filter_step + v * kLanes);
          });
    }
  }
  hwy::FlushStream();  // streamed stores are not ordered by what tells the other threads
}

/// The inputs of a span of tiles, transformed: panels [36][depth block][tile][kRowStride].
void transform_inputs(const Product& product, const ProductPlan& plan, const Span& tiles, const float* zeros,
                      float* panels) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const Square<kWinogradIn> square(product.x + place.image * t.h * t.w * t.c, t.h, t.w, t.c, place.row - t.pad_h,
                                     place.column - t.pad_w, zeros);
    for (std::int64_t block = 0; block < plan.depth_blocks; ++block) {
      float* const row = panels + block * plan.block_step + (tile - tiles.begin) * kRowStride;
      const std::int64_t first = block * plan.block_depth, end = std::min(first + plan.block_depth, t.c);
      vector_loop(d, first, end, [&](auto span, std::int64_t c) HWY_ATTR {
        transform_tile<InputTransform>(
            [&](int i, int j) { return span.load(d, square.pixels[kWinogradIn * i + j] + c); },
            [&](int i, int j, Vector value) {
              hn::StoreU(value, d, row + (kWinogradIn * i + j) * plan.panel_step + c - first);
            });
      });
    }
  }
}

/// The 36 products of a span of tiles and some columns: [36][tile][kGroupCols].
void multiply(const Product& product, const ProductPlan& plan, std::int64_t tiles, const Span& cols,
              const float* panels, float* products) {
  const std::int64_t depth = product.tiles.c, count = winograd_divide_up(tiles, kTileRows);
  for (std::int64_t f = 0; f < kWinogradProducts; ++f) {
    for (std::int64_t block = 0; block < plan.depth_blocks; ++block) {
      const std::int64_t first = block * plan.block_depth;
      for (std::int64_t i = 0; i < count; ++i) {
        const Span rows = cut(tiles, count, i);
        float* addresses[kTileRows];
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          addresses[row - rows.begin] = products + f * plan.product_step + row * kGroupCols;
        for (std::int64_t col = cols.begin; col < cols.end; col += kSliver) {
          const Tile tile = {.a = panels + f * plan.panel_step + block * plan.block_step + rows.begin * kRowStride,
                             .a_stride = 0,
                             .b = product.filters + f * plan.filter_step + (col / kSliver * depth + first) * kSliver,
                             .b_stride = kSliver,
                             .depth = std::min(plan.block_depth, depth - first),
                             .c = addresses,
                             .col = col - cols.begin,
                             .cols = std::min(kSliver, cols.end - col),
                             .start = nullptr,
                             .accumulate = block > 0,
                             .bias = nullptr,
                             .relu = false};
          const auto& run = tile.cols <= kLanes ? kTiles<1, kRowStride> : kTiles<2, kRowStride>;
          run[static_cast<std::size_t>(rows.size() - 1)](tile);
        }
      }
    }
  }
}

void transform_outputs(const Product& product, const ProductPlan& plan, const Span& tiles, const Span& cols,
                       const float* products) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const std::int64_t high = std::min(kWinogradOut, t.p - place.row),
                       wide = std::min(kWinogradOut, t.q - place.column);
    const float* const from = products + (tile - tiles.begin) * kGroupCols;
    float* const to = product.y + ((place.image * t.p + place.row) * t.q + place.column) * t.k + cols.begin;
    const float* const bias = product.bias != nullptr ? product.bias + cols.begin : nullptr;
    vector_loop(d, 0, cols.size(), [&](auto span, std::int64_t k) HWY_ATTR {
      const Vector offset = bias != nullptr ? span.load(d, bias + k) : hn::Zero(d);
      transform_tile<OutputTransform>(
          [&](int i, int j) { return hn::LoadU(d, from + (kWinogradIn * i + j) * plan.product_step + k); },
          [&](int i, int j, Vector value) {
            if (i >= high || j >= wide) return;
            value = hn::Add(value, offset);
            if (product.relu) value = relu(d, value);
            span.store(d, value, to + (i * t.q + j) * t.k + k);
          });
    });
  }
}

void run_task(const Product& product, const ProductPlan& plan, std::int64_t index, float* scratch) {
  const TiledImage& t = product.tiles;
  const Span tiles = cut(t.tiles(), plan.blocks, index / plan.parts);
  const Span groups = cut(winograd_divide_up(t.k, kGroupCols), plan.parts, index % plan.parts);
  float* const products = scratch + kWinogradProducts * plan.panel_step;
  float* const zeros = products + kWinogradProducts * plan.product_step;
  std::fill_n(zeros, plan.zeros, 0.0f);
  transform_inputs(product, plan, tiles, zeros, scratch);
  for (std::int64_t group = groups.begin; group < groups.end; ++group) {
    const Span cols = {group * kGroupCols, std::min((group + 1) * kGroupCols, t.k)};
    multiply(product, plan, tiles.size(), cols, scratch, products);
    transform_outputs(product, plan, tiles, cols, products);
  }
}

std::int64_t lanes() { return kLanes; }

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort {
namespace {

std::atomic<bool> enabled{true};

}  // namespace

void set_winograd_enabled(bool on) { enabled.store(on, std::memory_order_relaxed); }
bool winograd_enabled() { return enabled.load(std::memory_order_relaxed); }

namespace cpu {
namespace {

/// Below this many channels on either side the transforms cost more than the products save.
constexpr std::int64_t kLeastChannels = 32;
/// The least direct multiplications for one of ours; the whole tiles of small images compute some in vain.
constexpr double kLeastSaving = 2;

void run_product(Product product, const Filter& w, void* workspace) {
  const ProductPlan plan(product.tiles);
  float* const filters = aligned_to_line(workspace);
  float* const scratch = filters + plan.filter_floats();
  const std::int64_t lanes = RETORT_SIMD_SELECT(lanes)(), slivers = winograd_divide_up(w.cols, 2 * lanes);
  const std::int64_t depths = winograd_divide_up(w.depth, lanes);
  parallel_for(slivers * depths, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      RETORT_SIMD_SELECT(transform_filters)(w, i / depths, i % depths * lanes, plan.filter_step, filters);
  });
  product.filters = filters;
  parallel_tasks(plan.blocks * plan.parts, [&](std::int64_t index, int thread) {
    RETORT_SIMD_SELECT(run_task)(product, plan, index, scratch + thread * plan.thread_floats());
  });
}

}  // namespace

bool use_winograd(ConvPass pass, const Conv2dGeometry& g) {
  if (!winograd_enabled() || g.r != 3 || g.s != 3 || g.stride_h != 1 || g.stride_w != 1 || g.dilation_h != 1 ||
      g.dilation_w != 1 || g.groups != 1 || g.pad_h > 2 || g.pad_w > 2 || std::min(g.c, g.k) < kLeastChannels)
    return false;
  const TiledImage t = pass == ConvPass::dgrad ? backward_tiles(g) : forward_tiles(g);
  return static_cast<double>(9 * t.p * t.q) >= kLeastSaving * kWinogradProducts * t.tiles_h() * t.tiles_w();
}

void winograd_fprop(const Conv2dGeometry& g, const float* x, const float* w, const float* bias, bool relu, float* y,
                    void* workspace) {
  run_product({forward_tiles(g), x, nullptr, bias, relu, y}, {w, g.c, g.k, /*turned=*/false}, workspace);
}

void winograd_dgrad(const Conv2dGeometry& g, const float* dy, const float* w, float* dx, void* workspace) {
  run_product({backward_tiles(g), dy, nullptr, nullptr, false, dx}, {w, g.k, g.c, /*turned=*/true}, workspace);
}

std::size_t winograd_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  if (pass == ConvPass::wgrad) return winograd_wgrad_bytes(forward_tiles(g));
  const ProductPlan plan(pass == ConvPass::fprop ? forward_tiles(g) : backward_tiles(g));
  return static_cast<std::size_t>(plan.filter_floats() + num_threads() * plan.thread_floats() + kLineFloats) *
         sizeof(float);
}

}  // namespace cpu
}  // namespace retort
#endif  // HWY_ONCE
