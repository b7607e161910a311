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

#ifndef RETORT_WINOGRAD_WGRAD_PLAN_
#define RETORT_WINOGRAD_WGRAD_PLAN_
namespace retort::cpu {
namespace {

constexpr std::int64_t kTransformedFloats = 4 << 20;  // of both operands' transforms: they share the L3 cache
constexpr std::int64_t kLeastDepth = 64;

/// The tiles are summed over a stretch at a time: transforms of x and dy for the stretch, then the 36 products.
struct WinogradWgradPlan {
  explicit WinogradWgradPlan(const TiledImage& t) : x_row(odd_lines(t.c)), dy_row(odd_lines(t.k)) {
    const std::int64_t most = kTransformedFloats / (kWinogradProducts * (x_row + dy_row));
    stretches = winograd_divide_up(t.tiles(), std::clamp(most, kLeastDepth, kBlockDepth<float>));
    const std::int64_t depth = winograd_divide_up(t.tiles(), stretches);
    x_step = odd_lines(depth * x_row);
    dy_step = odd_lines(depth * dy_row);
    filter_step = odd_lines(t.c * t.k);
    row_parts = std::min(winograd_divide_up(t.c, kTaskRows), winograd_divide_up(4 * num_threads(), kWinogradProducts));
  }
  std::int64_t floats() const {
    return kWinogradProducts * (x_step + dy_step + filter_step) + odd_lines(std::max(x_row, dy_row)) + kLineFloats;
  }

  static constexpr std::int64_t kTaskRows = 14;
  std::int64_t x_row, dy_row;                 ///< floats of a tile's channels
  std::int64_t stretches;                     ///< of the tiles
  std::int64_t x_step, dy_step, filter_step;  ///< floats to the next of the 36
  std::int64_t row_parts;                     ///< of a product's rows
};

struct WgradTiles {
  TiledImage tiles;
  const float* x;
  const float* dy;
  float* dw;
  const float* zeros;
  float *x_transformed, *dy_transformed, *filters;  ///< [36][tile][channel], [36][c][k]
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// A square's transform, channel by channel, to target [36] of the given step.
template <class Transform>
HWY_INLINE void transform_square(const Square<Transform::kFrom>& square, std::int64_t channels, float* target,
                                 std::int64_t step) {
  const F32 d;
  vector_loop(d, 0, channels, [&](auto span, std::int64_t c) HWY_ATTR {
    transform_tile<Transform>(
        [&](int i, int j) { return span.load(d, square.pixels[Transform::kFrom * i + j] + c); },
        [&](int i, int j, Vector value) { hn::StoreU(value, d, target + (kWinogradIn * i + j) * step + c); });
  });
}

void transform_operands(const WgradTiles& o, const WinogradWgradPlan& plan, std::int64_t tile, std::int64_t place) {
  const TiledImage& t = o.tiles;
  const TilePlace at = place_of(t, tile);
  transform_square<InputTransform>(
      {o.x + at.image * t.h * t.w * t.c, t.h, t.w, t.c, at.row - t.pad_h, at.column - t.pad_w, o.zeros}, t.c,
      o.x_transformed + place * plan.x_row, plan.x_step);
  transform_square<OutputGradient>({o.dy + at.image * t.p * t.q * t.k, t.p, t.q, t.k, at.row, at.column, o.zeros}, t.k,
                                   o.dy_transformed + place * plan.dy_row, plan.dy_step);
}

/// Rows of one of the 36 products over a stretch of tiles.
void multiply_stretch(const WgradTiles& o, const WinogradWgradPlan& plan, std::int64_t index, std::int64_t depth,
                      bool accumulate) {
  const std::int64_t f = index / plan.row_parts, part = index % plan.row_parts, c = o.tiles.c, k = o.tiles.k;
  const std::int64_t panels = winograd_divide_up(c, kTileRows);
  for (std::int64_t panel = panels * part / plan.row_parts; panel < panels * (part + 1) / plan.row_parts; ++panel) {
    const std::int64_t begin = c * panel / panels, end = c * (panel + 1) / panels;
    float* addresses[kTileRows];
    for (std::int64_t row = begin; row < end; ++row)
      addresses[row - begin] = o.filters + f * plan.filter_step + row * k;
    for (std::int64_t col = 0; col < k; col += kSliver) {
      const Tile tile = {.a = o.x_transformed + f * plan.x_step + begin,
                         .a_stride = plan.x_row,
                         .b = o.dy_transformed + f * plan.dy_step + col,
                         .b_stride = plan.dy_row,
                         .depth = depth,
                         .c = addresses,
                         .col = col,
                         .cols = std::min(kSliver, k - col),
                         .start = nullptr,
                         .accumulate = accumulate,
                         .bias = nullptr,
                         .relu = false};
      const auto& run = tile.cols <= kLanes ? kTiles<1, 0> : kTiles<2, 0>;
      run[static_cast<std::size_t>(end - begin - 1)](tile);
    }
  }
}

void transform_gradient(const WgradTiles& o, const WinogradWgradPlan& plan, std::int64_t c) {
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

void winograd_wgrad(const Conv2dGeometry& g, const float* x, const float* dy, float* dw, void* workspace) {
  const TiledImage t = forward_tiles(g);
  const WinogradWgradPlan plan(t);
  float* const zeros = aligned_to_line(workspace);
  float* const memory = zeros + odd_lines(std::max(plan.x_row, plan.dy_row));
  std::fill(zeros, memory, 0.0f);
  float* const dy_transformed = memory + kWinogradProducts * plan.x_step;
  float* const filters = dy_transformed + kWinogradProducts * plan.dy_step;
  const WgradTiles operands{t, x, dy, dw, zeros, memory, dy_transformed, filters};

  for (std::int64_t stretch = 0; stretch < plan.stretches; ++stretch) {
    const std::int64_t first = t.tiles() * stretch / plan.stretches;
    const std::int64_t depth = t.tiles() * (stretch + 1) / plan.stretches - first;
    parallel_for(depth, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) RETORT_SIMD_SELECT(transform_operands)(operands, plan, first + i, i);
    });
    parallel_tasks(kWinogradProducts * plan.row_parts, [&](std::int64_t index, int) {
      RETORT_SIMD_SELECT(multiply_stretch)(operands, plan, index, depth, stretch > 0);
    });
  }
  parallel_for(t.c, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) RETORT_SIMD_SELECT(transform_gradient)(operands, plan, c);
  });
}

std::size_t winograd_wgrad_bytes(const TiledImage& tiles) {
  return static_cast<std::size_t>(WinogradWgradPlan(tiles).floats()) * sizeof(float);
}

}  // namespace retort::cpu
#endif  // HWY_ONCE
