// The filter's gradient by Winograd's F(4 x 4, 3 x 3) (see winograd.h).
#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/winograd_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/winograd_wgrad.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/winograd-inl.h"
#include "kernels/cpu/conv/winograd_product-inl.h"
#include "kernels/cpu/simd/vector_loop-inl.h"

#ifndef RETORT_WINOGRAD_WGRAD_PLAN_
#define RETORT_WINOGRAD_WGRAD_PLAN_
namespace retort::cpu {
namespace {

template <class T>
struct WgradOperands {
  TiledImage tiles;
  const T* x;
  const T* dy;
  float* dw;
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// A square's transform, channel by channel, to depth `depth` of the lanes at target [36] of the given step.
template <class Transform, class Stored, class T>
HWY_INLINE void transform_square(const Square<T, Transform::kFrom>& square, std::int64_t channels, std::int64_t depth,
                                 float* target, std::int64_t step) {
  const F32 d;
  vector_loop(d, 0, channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
    transform_tile<Transform>([&](int i, int j) { return lanes.load(d, square.pixels[Transform::kFrom * i + j] + c); },
                              [&](int i, int j, Vector value) {
                                float* const at = target + (kWinogradIn * i + j) * step + c;
                                hn::StoreU(Stored::lane(depth, value, at), d, at);
                              });
  });
}

/// A tile's x and dy, transformed to its place among those of a stretch.
template <class Stored, class T>
void transform_operands(const WgradOperands<T>& o, const WinogradWgradPlan& plan, const WinogradWgradBlock<T>& block,
                        std::int64_t tile, std::int64_t place) {
  const TiledImage& t = o.tiles;
  const TilePlace at = place_of(t, tile);
  const std::int64_t lane = place / kLaneDepths<T>, depth = place % kLaneDepths<T>;
  transform_square<InputTransform, Stored, T>({o.x + at.image * t.h * t.w * t.c + block.rows.begin, t.h, t.w, t.c,
                                               at.row - t.pad_h, at.column - t.pad_w, block.zeros},
                                              block.rows.size(), depth, block.x + lane * plan.x_row, plan.x_step);
  transform_square<OutputGradient, Stored, T>(
      {o.dy + at.image * t.p * t.q * t.k + block.cols.begin, t.p, t.q, t.k, at.row, at.column, block.zeros},
      block.cols.size(), depth, block.dy + lane * plan.cols, plan.dy_step);
}

/// The products, transformed back.
template <class T>
void transform_products(const WgradOperands<T>& o, const WinogradWgradPlan& plan, const WinogradWgradBlock<T>& block) {
  const F32 d;
  const std::int64_t tap_step = o.tiles.c * o.tiles.k;
  for (std::int64_t row = 0; row < block.rows.size(); ++row) {
    const float* const from = block.products + row * plan.cols;
    float* const to = o.dw + (block.rows.begin + row) * o.tiles.k + block.cols.begin;
    vector_loop(d, 0, block.cols.size(), [&](auto lanes, std::int64_t k) HWY_ATTR {
      transform_tile<FilterGradient>(
          [&](int i, int j) { return lanes.load(d, from + (kWinogradIn * i + j) * plan.product_step + k); },
          [&](int i, int j, Vector value) { lanes.store(d, value, to + (3 * i + j) * tap_step + k); });
    });
  }
}

template <class Arithmetic, class T>
void wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  using Stored = Products<Arithmetic>;
  const WgradOperands<T> operands{forward_tiles(g), x, dy, dw};
  const WinogradWgradPlan plan = wgrad_plan_for(operands.tiles);
  float* const scratch = aligned_to_line(workspace);
  parallel_tasks(plan.tasks.size(), [&](std::int64_t index, int thread) {
    const WinogradWgradBlock<T> block(plan, index, scratch + thread * plan.thread_floats());
    sum_over_tiles<Stored>(
        plan, block, block.rows.size(), operands.tiles.tiles(),
        [&](std::int64_t tile, std::int64_t place) { transform_operands<Stored>(operands, plan, block, tile, place); });
    transform_products(operands, plan, block);
  });
}

}  // namespace

template <class Arithmetic>
WgradPass<typename Arithmetic::Element> winograd_wgrad() {
  return wgrad<Arithmetic, typename Arithmetic::Element>;
}

template WgradPass<float> winograd_wgrad<FloatArithmetic>();
template WgradPass<BFloat16> winograd_wgrad<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template WgradPass<BFloat16> winograd_wgrad<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
