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

/// A task's scratch.
template <class T>
struct WinogradWgradPlan {
  explicit WinogradWgradPlan(const TiledImage& t) : tasks(t.c, t.k), rows(tasks.most_rows()), cols(tasks.most_cols()) {}
  std::int64_t thread_floats() const {
    return kWinogradProducts * (x_step + dy_step + product_step) + std::max(rows, cols);
  }

  WinogradWgradTasks tasks;
  std::int64_t rows, cols;  ///< of a task, at most
  /// Floats to the next of the 36.
  std::int64_t x_step = odd_lines(WinogradWgradTasks::kStretch * rows);
  std::int64_t dy_step = odd_lines(WinogradWgradTasks::kStretch * cols);
  std::int64_t product_step = odd_lines(rows * cols);
};

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

/// A task's rows and columns of dw, and its scratch.
template <class T>
struct WgradBlock {
  Span rows, cols;
  float *x, *dy;    ///< transformed, in lanes: [36][depth][rows or cols of the plan]
  float* products;  ///< [36][rows][cols of the plan]
  const T* zeros;   ///< a pixel outside the image
};

/// A tile's place among the lanes.
template <class Products, class T>
void transform_operands(const WgradOperands<T>& o, const WinogradWgradPlan<T>& plan, const WgradBlock<T>& block,
                        std::int64_t tile, std::int64_t place) {
  const TiledImage& t = o.tiles;
  const TilePlace at = place_of(t, tile);
  const std::int64_t lane = place / kLaneDepths<T>, depth = place % kLaneDepths<T>;
  transform_square<InputTransform, Products, T>({o.x + at.image * t.h * t.w * t.c + block.rows.begin, t.h, t.w, t.c,
                                                 at.row - t.pad_h, at.column - t.pad_w, block.zeros},
                                                block.rows.size(), depth, block.x + lane * plan.rows, plan.x_step);
  transform_square<OutputGradient, Products, T>(
      {o.dy + at.image * t.p * t.q * t.k + block.cols.begin, t.p, t.q, t.k, at.row, at.column, block.zeros},
      block.cols.size(), depth, block.dy + lane * plan.cols, plan.dy_step);
}

/// products (+)= x^T dy over `depth` tiles.
template <class Products, class T>
void multiply(const WinogradWgradPlan<T>& plan, const WgradBlock<T>& block, std::int64_t depth, bool accumulate) {
  multiply_transposed<Products>({.count = kWinogradProducts,
                                 .rows = block.rows.size(),
                                 .cols = block.cols.size(),
                                 .depth = depth,
                                 .a = block.x,
                                 .a_row = plan.rows,
                                 .a_step = plan.x_step,
                                 .b = block.dy,
                                 .b_row = plan.cols,
                                 .b_step = plan.dy_step,
                                 .sums = block.products,
                                 .sums_step = plan.product_step,
                                 .accumulate = accumulate});
}

/// The products, transformed back.
template <class T>
void transform_products(const WgradOperands<T>& o, const WinogradWgradPlan<T>& plan, const WgradBlock<T>& block) {
  const F32 d;
  const std::int64_t tap_step = o.tiles.c * o.tiles.k;
  for (std::int64_t row = 0; row < block.rows.size(); ++row) {
    const float* const from = block.products + row * plan.cols;
    float* const to = o.dw + (block.rows.begin + row) * o.tiles.k + block.cols.begin;
    vector_loop(d, 0, block.cols.size(), [&](auto span, std::int64_t k) HWY_ATTR {
      transform_tile<FilterGradient>(
          [&](int i, int j) { return span.load(d, from + (kWinogradIn * i + j) * plan.product_step + k); },
          [&](int i, int j, Vector value) { span.store(d, value, to + (3 * i + j) * tap_step + k); });
    });
  }
}

template <class T>
void run_wgrad_task(const WgradOperands<T>& o, const WinogradWgradPlan<T>& plan, std::int64_t index, float* scratch) {
  const TiledImage& t = o.tiles;
  float* const dy = scratch + kWinogradProducts * plan.x_step;
  float* const products = dy + kWinogradProducts * plan.dy_step;
  T* const zeros = reinterpret_cast<T*>(products + kWinogradProducts * plan.product_step);
  std::fill_n(zeros, std::max(plan.rows, plan.cols), T(0.0f));
  const WgradBlock<T> block = {plan.tasks.rows(index), plan.tasks.cols(index), scratch, dy, products, zeros};
  const std::int64_t stretches = winograd_divide_up(t.tiles(), plan.tasks.kStretch * kLaneDepths<T>);
  with_products<T>([&](auto arithmetic) {
    using Products = decltype(arithmetic);
    for (std::int64_t i = 0; i < stretches; ++i) {
      const std::int64_t first = t.tiles() * i / stretches, end = t.tiles() * (i + 1) / stretches;
      for (std::int64_t tile = first; tile < end; ++tile)
        transform_operands<Products>(o, plan, block, tile, tile - first);
      multiply<Products>(plan, block, end - first, i > 0);
    }
  });
  transform_products(o, plan, block);
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {

template <class T>
void winograd_wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  const WgradOperands<T> operands{forward_tiles(g), x, dy, dw};
  const WinogradWgradPlan<T> plan(operands.tiles);
  float* const scratch = aligned_to_line(workspace);
  parallel_tasks(plan.tasks.size(), [&](std::int64_t index, int thread) {
    RETORT_SIMD_SELECT(run_wgrad_task<T>)(operands, plan, index, scratch + thread * plan.thread_floats());
  });
}

template <class T>
std::size_t winograd_wgrad_bytes(const TiledImage& tiles) {
  return static_cast<std::size_t>(num_threads() * WinogradWgradPlan<T>(tiles).thread_floats() + kLineFloats) *
         sizeof(float);
}

template void winograd_wgrad<float>(const Conv2dGeometry&, const float*, const float*, float*, void*);
template void winograd_wgrad<BFloat16>(const Conv2dGeometry&, const BFloat16*, const BFloat16*, float*, void*);
template std::size_t winograd_wgrad_bytes<float>(const TiledImage&);
template std::size_t winograd_wgrad_bytes<BFloat16>(const TiledImage&);

}  // namespace retort::cpu
#endif  // HWY_ONCE
