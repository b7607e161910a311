#include "kernels/cpu/block_gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_plan.h"
#include "kernels/table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_wgrad.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/vector_loop-inl.h"
#include "kernels/cpu/winograd-inl.h"
#include "kernels/cpu/winograd_product-inl.h"

#ifndef RETORT_WINOGRAD_WGRAD_PLAN_
#define RETORT_WINOGRAD_WGRAD_PLAN_
namespace retort::cpu {
namespace {

constexpr std::int64_t kTransformedFloats = 4 << 20;  // of both operands' transforms: they share the L3 cache
constexpr std::int64_t kLeastDepth = 64;

/// T: of x and dy. The tiles are summed over a stretch at a time: transforms of x and dy for the stretch, then the 36
/// products.
template <class T>
struct WinogradWgradPlan {
  explicit WinogradWgradPlan(const TiledImage& t) : x_row(odd_lines(t.c)), dy_row(odd_lines(t.k)) {
    const std::int64_t most = kTransformedFloats / (kWinogradProducts * (x_row + dy_row)) * kLaneDepths<T>;
    stretches = winograd_divide_up(t.tiles(), std::clamp(most, kLeastDepth, kBlockDepth<T>));
    const std::int64_t depth = winograd_divide_up(winograd_divide_up(t.tiles(), stretches), kLaneDepths<T>);
    x_step = odd_lines(depth * x_row);
    dy_step = odd_lines(depth * dy_row);
    filter_step = odd_lines(t.c * t.k);
    row_parts = std::min(winograd_divide_up(t.c, kTaskRows), winograd_divide_up(4 * num_threads(), kWinogradProducts));
  }
  std::int64_t floats() const {
    return kWinogradProducts * (x_step + dy_step + filter_step) + odd_lines(std::max(x_row, dy_row)) + kLineFloats;
  }

  static constexpr std::int64_t kTaskRows = 14;
  std::int64_t x_row, dy_row;                 ///< lanes of a tile's channels, or of a pair of tiles'
  std::int64_t stretches;                     ///< of the tiles
  std::int64_t x_step, dy_step, filter_step;  ///< floats to the next of the 36
  std::int64_t row_parts;                     ///< of a product's rows
};

template <class T>
struct WgradTiles {
  TiledImage tiles;
  const T* x;
  const T* dy;
  float* dw;
  const T* zeros;
  float *x_transformed, *dy_transformed;  ///< lanes [36][tile][channel]
  float* filters;                         ///< [36][c][k]
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// A square's transform, channel by channel, to depth `depth` of the lanes at target [36] of the given step.
template <class Transform, class Products, class T>
HWY_INLINE void transform_square(const Square<T, Transform::kFrom>& square, std::int64_t channels, std::int64_t depth,
                                 float* target, std::int64_t step) {
  const F32 d;
  vector_loop(d, 0, channels, [&](auto span, std::int64_t c) HWY_ATTR {
    transform_tile<Transform>([&](int i, int j) { return span.load(d, square.pixels[Transform::kFrom * i + j] + c); },
                              [&](int i, int j, Vector value) {
                                float* const lanes = target + (kWinogradIn * i + j) * step + c;
                                hn::StoreU(Products::lane(depth, value, lanes), d, lanes);
                              });
  });
}

/// Tile `first + place` of a stretch.
template <class Products, class T>
void transform_operands(const WgradTiles<T>& o, const WinogradWgradPlan<T>& plan, std::int64_t first,
                        std::int64_t place) {
  const TiledImage& t = o.tiles;
  const TilePlace at = place_of(t, first + place);
  const std::int64_t lane = place / kLaneDepths<T>, depth = place % kLaneDepths<T>;
  transform_square<InputTransform, Products, T>(
      {o.x + at.image * t.h * t.w * t.c, t.h, t.w, t.c, at.row - t.pad_h, at.column - t.pad_w, o.zeros}, t.c, depth,
      o.x_transformed + lane * plan.x_row, plan.x_step);
  transform_square<OutputGradient, Products, T>(
      {o.dy + at.image * t.p * t.q * t.k, t.p, t.q, t.k, at.row, at.column, o.zeros}, t.k, depth,
      o.dy_transformed + lane * plan.dy_row, plan.dy_step);
}

/// The tiles of lanes [begin, end) of a stretch of `depth` tiles.
template <class T>
void transform_lanes(const WgradTiles<T>& o, const WinogradWgradPlan<T>& plan, std::int64_t first, std::int64_t depth,
                     std::int64_t begin, std::int64_t end) {
  with_products<T>([&](auto arithmetic) {
    for (std::int64_t i = begin * kLaneDepths<T>; i < std::min(depth, end * kLaneDepths<T>); ++i)
      transform_operands<decltype(arithmetic)>(o, plan, first, i);
  });
}

/// Rows of one of the 36 products over a stretch of tiles.
template <class T>
void multiply_stretch(const WgradTiles<T>& o, const WinogradWgradPlan<T>& plan, std::int64_t index, std::int64_t depth,
                      bool accumulate) {
  const std::int64_t f = index / plan.row_parts, part = index % plan.row_parts, c = o.tiles.c, k = o.tiles.k;
  const std::int64_t panels = winograd_divide_up(c, kTileRows);
  for (std::int64_t panel = panels * part / plan.row_parts; panel < panels * (part + 1) / plan.row_parts; ++panel) {
    const std::int64_t begin = c * panel / panels, end = c * (panel + 1) / panels;
    float* addresses[kTileRows];
    for (std::int64_t row = begin; row < end; ++row)
      addresses[row - begin] = o.filters + f * plan.filter_step + row * k;
    for (std::int64_t col = 0; col < k; col += kSliver) {
      const ProductTile<T> tile = {.a = reinterpret_cast<const T*>(o.x_transformed + f * plan.x_step + begin),
                                   .a_step = plan.x_row * kLaneDepths<T>,
                                   .b = o.dy_transformed + f * plan.dy_step + col,
                                   .b_step = plan.dy_row,
                                   .depth = depth,
                                   .sums = addresses,
                                   .rows = end - begin,
                                   .col = col,
                                   .cols = std::min(kSliver, k - col),
                                   .accumulate = accumulate};
      with_products<T>([&](auto arithmetic) { arithmetic.template multiply<0>(tile); });
    }
  }
}

template <class T>
void transform_gradient(const WgradTiles<T>& o, const WinogradWgradPlan<T>& plan, std::int64_t c) {
  const F32 d;
  const std::int64_t k_count = o.tiles.k, tap_step = o.tiles.c * k_count;
  const float* const from = o.filters + c * k_count;
  float* const to = o.dw + c * k_count;
  vector_loop(d, 0, k_count, [&](auto span, std::int64_t k) HWY_ATTR {
    transform_tile<FilterGradient>(
        [&](int i, int j) { return span.load(d, from + (kWinogradIn * i + j) * plan.filter_step + k); },
        [&](int i, int j, Vector value) { span.store(d, value, to + (3 * i + j) * tap_step + k); });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {

template <class T>
void winograd_wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  const TiledImage t = forward_tiles(g);
  const WinogradWgradPlan<T> plan(t);
  float* const zeros = aligned_to_line(workspace);
  float* const memory = zeros + odd_lines(std::max(plan.x_row, plan.dy_row));
  std::fill(zeros, memory, 0.0f);
  float* const dy_transformed = memory + kWinogradProducts * plan.x_step;
  float* const filters = dy_transformed + kWinogradProducts * plan.dy_step;
  const WgradTiles<T> operands{t, x, dy, dw, reinterpret_cast<const T*>(zeros), memory, dy_transformed, filters};

  for (std::int64_t stretch = 0; stretch < plan.stretches; ++stretch) {
    const std::int64_t first = t.tiles() * stretch / plan.stretches;
    const std::int64_t depth = t.tiles() * (stretch + 1) / plan.stretches - first;
    parallel_for(winograd_divide_up(depth, kLaneDepths<T>), 4, [&](std::int64_t begin, std::int64_t end) {
      RETORT_SIMD_SELECT(transform_lanes<T>)(operands, plan, first, depth, begin, end);
    });
    parallel_tasks(kWinogradProducts * plan.row_parts, [&](std::int64_t index, int) {
      RETORT_SIMD_SELECT(multiply_stretch<T>)(operands, plan, index, depth, stretch > 0);
    });
  }
  parallel_for(t.c, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) RETORT_SIMD_SELECT(transform_gradient<T>)(operands, plan, c);
  });
}

template <class T>
std::size_t winograd_wgrad_bytes(const TiledImage& tiles) {
  return static_cast<std::size_t>(WinogradWgradPlan<T>(tiles).floats()) * sizeof(float);
}

template void winograd_wgrad<float>(const Conv2dGeometry&, const float*, const float*, float*, void*);
template void winograd_wgrad<BFloat16>(const Conv2dGeometry&, const BFloat16*, const BFloat16*, float*, void*);
template std::size_t winograd_wgrad_bytes<float>(const TiledImage&);
template std::size_t winograd_wgrad_bytes<BFloat16>(const TiledImage&);

}  // namespace retort::cpu
#endif  // HWY_ONCE
