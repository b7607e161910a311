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

#include "kernels/cpu/epilogue-inl.h"
#include "kernels/cpu/pack-inl.h"
#include "kernels/cpu/vector_loop-inl.h"
#include "kernels/cpu/winograd-inl.h"
#include "kernels/cpu/winograd_product-inl.h"

#ifndef RETORT_WINOGRAD_PRODUCT_
#define RETORT_WINOGRAD_PRODUCT_
namespace retort::cpu {
namespace {

/// Of the transformed inputs, as tiles want it.
template <class T>
constexpr std::int64_t kRowStride = kBlockDepth<T> + kPanelSlack<T>;

/// How the workspace of fprop and dgrad is cut.
template <class T>
struct ProductPlan {
  explicit ProductPlan(const TiledImage& t)
      : tasks(t.tiles(), t.k),
        depth_blocks(winograd_divide_up(t.c, kBlockDepth<T>)),
        block_depth(winograd_divide_up(winograd_divide_up(t.c, depth_blocks), kLineFloats) * kLineFloats),
        filter_step(odd_lines(winograd_divide_up(t.k, kWidestSliver) * kWidestSliver *
                              winograd_divide_up(t.c, kLaneDepths<T>))) {
    block_step = tasks.most_tiles() * kRowStride<T>;
    panel_step = odd_lines(depth_blocks * block_step / kLaneDepths<T>) * kLaneDepths<T>;
    product_step = odd_lines(tasks.most_tiles() * kGroupCols);
    zeros = odd_lines(t.c);
  }
  std::int64_t filter_floats() const { return kWinogradProducts * filter_step; }
  std::int64_t panel_floats() const { return kWinogradProducts * panel_step / kLaneDepths<T>; }
  std::int64_t thread_floats() const { return panel_floats() + kWinogradProducts * product_step + zeros; }

  WinogradTasks tasks;
  std::int64_t depth_blocks, block_depth;  ///< of the channels that are summed over
  std::int64_t filter_step;                ///< lanes from one of the 36 transformed filters to the next
  std::int64_t block_step, panel_step;     ///< elements of a depth block of the inputs, and to the next of the 36
  std::int64_t product_step, zeros;        ///< floats to the next of the 36 products; of a pixel outside the image
};

/// w as the product sees it: its columns, and the channels that are summed over. For dgrad it is `turned` by 180
/// degrees and columns and depth are exchanged.
template <class T>
struct Filter {
  const T* data;
  std::int64_t depth, cols;
  bool turned;
};

template <class T>
struct Product {
  TiledImage tiles;
  const T* x;
  const float* filters;  ///< transformed, in lanes: [36][sliver][depth][sliver's columns]
  Epilogue<T> epilogue;
  T* y;
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// The filters of one sliver of columns over kFilterDepths depths, transformed.
template <class Products, class T>
void transform_filters(const Filter<T>& w, std::int64_t sliver, std::int64_t depth, std::int64_t filter_step,
                       float* filters) {
  const F32 d;
  constexpr std::int64_t kTaps = 9;
  const std::int64_t col = sliver * kSliver, cols = std::min(kSliver, w.cols - col);
  const std::int64_t depths = std::min(kFilterDepths, w.depth - depth);
  HWY_ALIGN T turned[kTaps * kFilterDepths * kSliver];
  if (w.turned) {
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const T* source = w.data + ((kTaps - 1 - tap) * w.cols + col) * w.depth + depth;
      T* const target = turned + tap * kFilterDepths * kSliver;
      if constexpr (std::is_same_v<T, float>) {
        pack_columns(source, w.depth, depths, cols, kSliver, target);
      } else {
        for (std::int64_t j = 0; j < cols; ++j)
          for (std::int64_t l = 0; l < depths; ++l) target[l * kSliver + j] = source[j * w.depth + l];
      }
    }
  }
  const T* const taps = w.turned ? turned : w.data + depth * w.cols + col;
  const std::int64_t tap_step = w.turned ? kFilterDepths * kSliver : w.depth * w.cols;
  const std::int64_t row_step = w.turned ? kSliver : w.cols;
  float* const target =
      filters + (sliver * winograd_divide_up(w.depth, kLaneDepths<T>) + depth / kLaneDepths<T>)*kSliver;
  constexpr std::int64_t kVectors = kSliver / kLanes;
  HWY_ALIGN float first_halves[kWinogradProducts * kSliver];  // of lanes that a second depth completes
  for (std::int64_t l = 0; l < depths; ++l) {
    const T* row = taps + l * row_step;
    float* const lanes = target + l / kLaneDepths<T> * kSliver;
    const std::int64_t part = l % kLaneDepths<T>;
    const bool whole = part == kLaneDepths<T> - 1 || l == depths - 1;
    for (std::int64_t v = 0; v < kVectors; ++v) {
      const std::int64_t count = std::clamp<std::int64_t>(cols - v * kLanes, 0, kLanes);
      transform_tile<FilterTransform>(
          [&](int i, int j) {
            const T* from = row + (3 * i + j) * tap_step + v * kLanes;
            return count == kLanes ? Whole{}.load(d, from) : Part{static_cast<std::size_t>(count)}.load(d, from);
          },
          // Past the cache: together the filters of a deep layer are larger, and reading them first would cost as much.
          [&](int i, int j, Vector value) {
            const int f = kWinogradIn * i + j;
            float* const held = first_halves + (f * kVectors + v) * kLanes;
            const Vector lane = Products::lane(part, value, held);
            if (whole)
              hn::Stream(lane, d, lanes + f * filter_step + v * kLanes);
            else
              hn::Store(lane, d, held);
          });
    }
  }
  hwy::FlushStream();  // streamed stores are not ordered by what tells the other threads
}

/// The inputs of a span of tiles, transformed: panels [36][depth block][tile][kRowStride]. Beyond an odd
/// depth lies a zero.
template <class Products, class T>
void transform_inputs(const Product<T>& product, const ProductPlan<T>& plan, const Span& tiles, const T* zeros,
                      T* panels) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const Square<T, kWinogradIn> square(product.x + place.image * t.h * t.w * t.c, t.h, t.w, t.c, place.row - t.pad_h,
                                        place.column - t.pad_w, zeros);
    for (std::int64_t block = 0; block < plan.depth_blocks; ++block) {
      T* const row = panels + block * plan.block_step + (tile - tiles.begin) * kRowStride<T>;
      const std::int64_t first = block * plan.block_depth, end = std::min(first + plan.block_depth, t.c);
      vector_loop(d, first, end, [&](auto span, std::int64_t c) HWY_ATTR {
        transform_tile<InputTransform>(
            [&](int i, int j) { return span.load(d, square.pixels[kWinogradIn * i + j] + c); },
            [&](int i, int j, Vector value) {
              Products::store_element(value, row + (kWinogradIn * i + j) * plan.panel_step + c - first);
            });
      });
      if ((end - first) % kLaneDepths<T> != 0)
        for (std::int64_t f = 0; f < kWinogradProducts; ++f) row[f * plan.panel_step + end - first] = T(0.0f);
    }
  }
}

/// The 36 products of a span of tiles and some columns: [36][tile][kGroupCols].
template <class Products, class T>
void multiply(const Product<T>& product, const ProductPlan<T>& plan, std::int64_t tiles, const Span& cols,
              const T* panels, float* products) {
  const std::int64_t lanes = winograd_divide_up(product.tiles.c, kLaneDepths<T>);
  const std::int64_t count = winograd_divide_up(tiles, kTileRows);
  for (std::int64_t f = 0; f < kWinogradProducts; ++f) {
    for (std::int64_t block = 0; block < plan.depth_blocks; ++block) {
      const std::int64_t first = block * plan.block_depth;
      for (std::int64_t i = 0; i < count; ++i) {
        const Span rows = cut(tiles, count, i);
        float* addresses[kTileRows];
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          addresses[row - rows.begin] = products + f * plan.product_step + row * kGroupCols;
        for (std::int64_t col = cols.begin; col < cols.end; col += kSliver) {
          const float* const sliver = product.filters + f * plan.filter_step + col / kSliver * lanes * kSliver;
          Products::template multiply<kRowStride<T>>(
              {.a = panels + f * plan.panel_step + block * plan.block_step + rows.begin * kRowStride<T>,
               .a_step = 0,
               .b = sliver + first / kLaneDepths<T> * kSliver,
               .b_step = kSliver,
               .depth = std::min(plan.block_depth, product.tiles.c - first),
               .sums = addresses,
               .rows = rows.size(),
               .col = col - cols.begin,
               .cols = std::min(kSliver, cols.end - col),
               .accumulate = block > 0});
        }
      }
    }
  }
}

template <class T>
void transform_outputs(const Product<T>& product, const ProductPlan<T>& plan, const Span& tiles, const Span& cols,
                       const float* products) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const std::int64_t high = std::min(kWinogradOut, t.p - place.row),
                       wide = std::min(kWinogradOut, t.q - place.column);
    const float* const from = products + (tile - tiles.begin) * kGroupCols;
    const std::int64_t to = ((place.image * t.p + place.row) * t.q + place.column) * t.k + cols.begin;
    vector_loop(d, 0, cols.size(), [&](auto span, std::int64_t k) HWY_ATTR {
      const ColumnEpilogue<decltype(span), T> epilogue(span, product.epilogue, cols.begin + k);
      transform_tile<OutputTransform>(
          [&](int i, int j) { return hn::LoadU(d, from + (kWinogradIn * i + j) * plan.product_step + k); },
          [&](int i, int j, Vector value) {
            if (i >= high || j >= wide) return;
            const std::int64_t at = to + (i * t.q + j) * t.k + k;
            span.store(d, epilogue(value, at), product.y + at);
          });
    });
  }
}

template <class T>
void run_task(const Product<T>& product, const ProductPlan<T>& plan, std::int64_t index, float* scratch) {
  const TiledImage& t = product.tiles;
  const Span tiles = plan.tasks.tiles(index);
  const Span groups = plan.tasks.groups(index);
  T* const panels = reinterpret_cast<T*>(scratch);
  float* const products = scratch + plan.panel_floats();
  T* const zeros = reinterpret_cast<T*>(products + kWinogradProducts * plan.product_step);
  std::fill_n(zeros, t.c, T(0.0f));
  with_products<T>([&](auto arithmetic) {
    using Products = decltype(arithmetic);
    transform_inputs<Products>(product, plan, tiles, zeros, panels);
    for (std::int64_t group = groups.begin; group < groups.end; ++group) {
      const Span cols = {group * kGroupCols, std::min((group + 1) * kGroupCols, t.k)};
      multiply<Products>(product, plan, tiles.size(), cols, panels, products);
      transform_outputs(product, plan, tiles, cols, products);
    }
  });
}

template <class T>
void run_filter_task(const Filter<T>& w, std::int64_t sliver, std::int64_t depth, std::int64_t filter_step,
                     float* filters) {
  with_products<T>(
      [&](auto arithmetic) { transform_filters<decltype(arithmetic)>(w, sliver, depth, filter_step, filters); });
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
/// wgrad's products are as deep as there are tiles. Those of bf16 soon cost less than moving 36 products in f32.
constexpr std::int64_t kLeastTilesBf16 = 64;

template <class T>
void run_product(Product<T> product, const Filter<T>& w, void* workspace) {
  const ProductPlan<T> plan(product.tiles);
  float* const filters = aligned_to_line(workspace);
  float* const scratch = filters + plan.filter_floats();
  const std::int64_t lanes = RETORT_SIMD_SELECT(lanes)(), slivers = winograd_divide_up(w.cols, 2 * lanes);
  const std::int64_t parts = winograd_divide_up(w.depth, kFilterDepths);
  parallel_for(slivers * parts, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      RETORT_SIMD_SELECT(run_filter_task<T>)(w, i / parts, i % parts * kFilterDepths, plan.filter_step, filters);
  });
  product.filters = filters;
  parallel_tasks(plan.tasks.size(), [&](std::int64_t index, int thread) {
    RETORT_SIMD_SELECT(run_task<T>)(product, plan, index, scratch + thread * plan.thread_floats());
  });
}

}  // namespace

template <class T>
bool use_winograd(ConvPass pass, const Conv2dGeometry& g) {
  if (!winograd_enabled() || g.r != 3 || g.s != 3 || g.stride_h != 1 || g.stride_w != 1 || g.dilation_h != 1 ||
      g.dilation_w != 1 || g.groups != 1 || g.pad_h > 2 || g.pad_w > 2 || std::min(g.c, g.k) < kLeastChannels)
    return false;
  const TiledImage t = pass == ConvPass::dgrad ? backward_tiles(g) : forward_tiles(g);
  if (sizeof(T) == 2 && pass == ConvPass::wgrad && t.tiles() < kLeastTilesBf16) return false;
  return static_cast<double>(9 * t.p * t.q) >= kLeastSaving * kWinogradProducts * t.tiles_h() * t.tiles_w();
}

template <class T>
void winograd_fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y,
                    void* workspace) {
  run_product<T>({forward_tiles(g), x, nullptr, epilogue, y}, {w, g.c, g.k, /*turned=*/false}, workspace);
}

template <class T>
void winograd_dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  run_product<T>({backward_tiles(g), dy, nullptr, {}, dx}, {w, g.k, g.c, /*turned=*/true}, workspace);
}

template <class T>
std::size_t winograd_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  if (pass == ConvPass::wgrad) return winograd_wgrad_bytes<T>(forward_tiles(g));
  const ProductPlan<T> plan(pass == ConvPass::fprop ? forward_tiles(g) : backward_tiles(g));
  return static_cast<std::size_t>(plan.filter_floats() + num_threads() * plan.thread_floats() + kLineFloats) *
         sizeof(float);
}

#define RETORT_INSTANTIATE(T)                                                                                \
  template void winograd_fprop<T>(const Conv2dGeometry&, const T*, const T*, const Epilogue<T>&, T*, void*); \
  template void winograd_dgrad<T>(const Conv2dGeometry&, const T*, const T*, T*, void*);                     \
  template bool use_winograd<T>(ConvPass, const Conv2dGeometry&);                                            \
  template std::size_t winograd_workspace_bytes<T>(ConvPass, const Conv2dGeometry&);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace cpu
}  // namespace retort
#endif  // HWY_ONCE
