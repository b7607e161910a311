// fprop and dgrad by Winograd's F(4 x 4, 3 x 3) (see winograd.h), and the algorithm as conv2d.cpp takes it.
#include "kernels/cpu/conv/winograd.h"

#include <atomic>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/winograd_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/winograd.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/winograd-inl.h"
#include "kernels/cpu/conv/winograd_product-inl.h"
#include "kernels/cpu/gemm/epilogue-inl.h"
#include "kernels/cpu/gemm/pack-inl.h"
#include "kernels/cpu/simd/vector_loop-inl.h"

#ifndef RETORT_WINOGRAD_PRODUCT_
#define RETORT_WINOGRAD_PRODUCT_
namespace retort::cpu {
namespace {

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
  Epilogue<T> epilogue;
  T* y;
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// In winograd_wgrad.cpp.
template <class Arithmetic>
WgradPass<typename Arithmetic::Element> winograd_wgrad();

namespace {

/// The filters of one sliver of columns over kFilterDepths depths, transformed.
template <class Stored, class T>
void transform_filters(const Filter<T>& w, std::int64_t sliver, std::int64_t depth, std::int64_t filter_step,
                       float* filters) {
  const F32 d;
  constexpr std::int64_t kTaps = 9, kVectors = kSliver / kLanes;
  const std::int64_t col = sliver * kSliver, cols = std::min(kSliver, w.cols - col);
  const std::int64_t depths = std::min(kFilterDepths, w.depth - depth);
  float* const target = filters + (sliver * divide_up(w.depth, kLaneDepths<T>) + depth / kLaneDepths<T>)*kSliver;
  HWY_ALIGN float first_halves[kWinogradProducts * kSliver];  // of lanes that a second depth completes
  const auto transform = [&](const auto* taps, std::int64_t tap_step, std::int64_t row_step) HWY_ATTR {
    for (std::int64_t l = 0; l < depths; ++l) {
      const auto* row = taps + l * row_step;
      float* const to = target + l / kLaneDepths<T> * kSliver;
      const FilterDepth<Stored> of_lane(l, l == depths - 1);
      for (std::int64_t v = 0; v < kVectors; ++v) {
        const std::int64_t count = std::clamp<std::int64_t>(cols - v * kLanes, 0, kLanes);
        transform_tile<FilterTransform>(
            [&](int i, int j) {
              const auto* from = row + (3 * i + j) * tap_step + v * kLanes;
              return count == kLanes ? Whole{}.load(d, from) : Tail{static_cast<std::size_t>(count)}.load(d, from);
            },
            [&](int i, int j, Vector value) {
              const int f = kWinogradIn * i + j;
              of_lane.store(value, first_halves + (f * kVectors + v) * kLanes, to + f * filter_step + v * kLanes);
            });
      }
    }
  };
  if (w.turned) {
    HWY_ALIGN float turned[kTaps * kFilterDepths * kSliver];
    for (std::int64_t tap = 0; tap < kTaps; ++tap)
      pack_columns(w.data + ((kTaps - 1 - tap) * w.cols + col) * w.depth + depth, w.depth, depths, cols, kSliver,
                   turned + tap * kFilterDepths * kSliver);
    transform(turned, kFilterDepths * kSliver, kSliver);
  } else {
    transform(w.data + depth * w.cols + col, w.depth * w.cols, w.cols);
  }
  hwy::FlushStream();  // streamed stores are not ordered by the synchronisation that follows
}

/// The inputs of some tiles, transformed (WinogradProductPlan has the layout). Beyond an odd depth lies a zero.
template <class Stored, class T>
void transform_inputs(const Product<T>& product, const WinogradProductPlan<T>& plan, const Range& tiles, const T* zeros,
                      T* panels) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const Square<T, kWinogradIn> square(product.x + place.image * t.h * t.w * t.c, t.h, t.w, t.c, place.row - t.pad_h,
                                        place.column - t.pad_w, zeros);
    for (std::int64_t block = 0; block < plan.channel_blocks; ++block) {
      T* const row = panels + block * plan.block_step + (tile - tiles.begin) * kPanelRowStride<T>;
      const std::int64_t first = block * plan.block_channels, end = std::min(first + plan.block_channels, t.c);
      vector_loop(d, first, end, [&](auto lanes, std::int64_t c) HWY_ATTR {
        transform_tile<InputTransform>(
            [&](int i, int j) { return lanes.load(d, square.pixels[kWinogradIn * i + j] + c); },
            [&](int i, int j, Vector value) {
              Stored::store_element(value, row + (kWinogradIn * i + j) * plan.panel_step + c - first);
            });
      });
      if ((end - first) % kLaneDepths<T> != 0)
        for (std::int64_t f = 0; f < kWinogradProducts; ++f) row[f * plan.panel_step + end - first] = T(0.0f);
    }
  }
}

template <class T>
void transform_outputs(const Product<T>& product, const WinogradProductPlan<T>& plan, const Range& tiles,
                       const Range& cols, const float* products) {
  const F32 d;
  const TiledImage& t = product.tiles;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TilePlace place = place_of(t, tile);
    const std::int64_t high = std::min(kWinogradOut, t.p - place.row),
                       wide = std::min(kWinogradOut, t.q - place.column);
    const float* const from = products + (tile - tiles.begin) * kGroupCols;
    const std::int64_t to = ((place.image * t.p + place.row) * t.q + place.column) * t.k + cols.begin;
    vector_loop(d, 0, cols.size(), [&](auto lanes, std::int64_t k) HWY_ATTR {
      const ColumnEpilogue<decltype(lanes), T> epilogue(lanes, product.epilogue, cols.begin + k);
      transform_tile<OutputTransform>(
          [&](int i, int j) { return hn::LoadU(d, from + (kWinogradIn * i + j) * plan.product_step + k); },
          [&](int i, int j, Vector value) {
            if (i >= high || j >= wide) return;
            const std::int64_t at = to + (i * t.q + j) * t.k + k;
            lanes.store(d, epilogue(value, at), product.y + at);
          });
    });
  }
}

template <class T>
WinogradProductPlan<T> plan_for(const TiledImage& t) {
  return {kWinogradProducts, /*tap_blocks=*/1, t.tiles(), t.c, t.k};
}

template <class T>
std::size_t workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  if (pass == ConvPass::wgrad) return wgrad_plan_for(forward_tiles(g)).bytes();
  return plan_for<T>(pass == ConvPass::fprop ? forward_tiles(g) : backward_tiles(g)).bytes();
}

template <class Arithmetic, class T>
void run_product(const Product<T>& product, const Filter<T>& w, void* workspace) {
  using Stored = Products<Arithmetic>;
  const WinogradProductPlan<T> plan = plan_for<T>(product.tiles);
  const std::int64_t slivers = divide_up(w.cols, kSliver), depth_blocks = divide_up(w.depth, kFilterDepths);
  run_product_tasks(
      plan, slivers * depth_blocks, workspace,
      [&](std::int64_t i, float* filters) {
        transform_filters<Stored>(w, i / depth_blocks, i % depth_blocks * kFilterDepths, plan.filter_step, filters);
      },
      [&](std::int64_t index, const float* filters, float* scratch) {
        run_product_task<Stored>(
            plan, index, filters, scratch,
            [&](const Range& tiles, const T* zeros, T* panels) {
              transform_inputs<Stored>(product, plan, tiles, zeros, panels);
            },
            [&](const Range& tiles, const Range& cols, const float* products) {
              transform_outputs(product, plan, tiles, cols, products);
            });
      });
}

template <class Arithmetic, class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void* workspace) {
  run_product<Arithmetic, T>({forward_tiles(g), x, epilogue, y}, {w, g.c, g.k, /*turned=*/false}, workspace);
}

template <class Arithmetic, class T>
void dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  run_product<Arithmetic, T>({backward_tiles(g), dy, {}, dx}, {w, g.k, g.c, /*turned=*/true}, workspace);
}

}  // namespace

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> winograd() {
  using T = typename Arithmetic::Element;
  return {.serves = use_winograd<T>,
          .workspace_bytes = workspace_bytes<T>,
          .fprop = fprop<Arithmetic, T>,
          .dgrad = dgrad<Arithmetic, T>,
          .wgrad = winograd_wgrad<Arithmetic>()};
}

template ConvAlgorithm<float> winograd<FloatArithmetic>();
template ConvAlgorithm<BFloat16> winograd<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> winograd<NativeBf16>();
#endif

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

/// The algorithm serves where it divides the number of multiplications by at least this. Tiles that reach past the edge
/// of a small image compute some in vain.
constexpr double kMinSaving = 2;
/// The depth of wgrad's products is the number of tiles. With fewer, moving 36 products in f32 costs more than the
/// direct sum in bf16.
constexpr std::int64_t kMinTilesBf16 = 64;

}  // namespace

template <class T>
bool use_winograd(ConvPass pass, const Conv2dGeometry& g) {
  if (!winograd_serves(g) || g.r != 3 || g.s != 3 || g.pad_h > 2 || g.pad_w > 2) return false;
  const TiledImage t = pass == ConvPass::dgrad ? backward_tiles(g) : forward_tiles(g);
  if (sizeof(T) == 2 && pass == ConvPass::wgrad && t.tiles() < kMinTilesBf16) return false;
  return static_cast<double>(9 * t.p * t.q) >= kMinSaving * kWinogradProducts * t.tiles_h() * t.tiles_w();
}

template bool use_winograd<float>(ConvPass, const Conv2dGeometry&);
template bool use_winograd<BFloat16>(ConvPass, const Conv2dGeometry&);

}  // namespace cpu
}  // namespace retort
#endif  // HWY_ONCE
