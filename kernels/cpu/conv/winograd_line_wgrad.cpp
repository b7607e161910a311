// The filter's gradient by Winograd's algorithm along one axis (see winograd_line.h).
#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/winograd_line_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/winograd_line_wgrad.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/winograd_line-inl.h"
#include "kernels/cpu/conv/winograd_product-inl.h"

#ifndef RETORT_WINOGRAD_LINE_WGRAD_PLAN_
#define RETORT_WINOGRAD_LINE_WGRAD_PLAN_
namespace retort::cpu {
namespace {

template <class T>
struct LineOperands {
  LineImage lines;
  LineTiles cut;
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

/// A tile's x and dy, transformed to its place among those of a stretch.
template <class Scheme, class Stored, class T>
void transform_line_operands(const LineOperands<T>& o, const WinogradWgradPlan& plan,
                             const WinogradWgradBlock<T>& block, std::int64_t tile, std::int64_t place) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const LineImage& l = o.lines;
  const std::int64_t line = tile / o.cut.per_line, first = tile % o.cut.per_line * kMatrices.kOut;
  const std::int64_t lane = place / kLaneDepths<T>, depth = place % kLaneDepths<T>;
  for (std::int64_t tap_block = 0; tap_block < o.cut.tap_blocks; ++tap_block) {
    const Pixels<T, kMatrices.kIn> x(o.x + l.first_pixel(line, l.in) * l.c + block.rows.begin, l.step() * l.c, l.in,
                                     first + tap_block * kMatrices.kTaps - l.pad, block.zeros);
    float* const to = block.x + lane * plan.x_row + tap_block * plan.rows;
    vector_loop(d, 0, block.rows.size(), [&](auto lanes, std::int64_t c) HWY_ATTR {
      apply<false>(
          kMatrices.input, [&](int i) { return lanes.load(d, x.at[i] + c); },
          [&](int f, Vector value) {
            float* const at = to + f * plan.x_step + c;
            hn::StoreU(Stored::lane(depth, value, at), d, at);
          });
    });
  }
  const Pixels<T, kMatrices.kOut> dy(o.dy + l.first_pixel(line, l.out) * l.k + block.cols.begin, l.step() * l.k, l.out,
                                     first, block.zeros);
  float* const to = block.dy + lane * plan.cols;
  vector_loop(d, 0, block.cols.size(), [&](auto lanes, std::int64_t k) HWY_ATTR {
    apply<true>(
        kMatrices.output, [&](int i) { return lanes.load(d, dy.at[i] + k); },
        [&](int f, Vector value) {
          float* const at = to + f * plan.dy_step + k;
          hn::StoreU(Stored::lane(depth, value, at), d, at);
        });
  });
}

/// The products, transformed back.
template <class Scheme, class T>
void transform_line_products(const LineOperands<T>& o, const WinogradWgradPlan& plan,
                             const WinogradWgradBlock<T>& block) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const LineImage& l = o.lines;
  for (std::int64_t tap_block = 0; tap_block < o.cut.tap_blocks; ++tap_block)
    for (std::int64_t row = 0; row < block.rows.size(); ++row) {
      const float* const from = block.products + (tap_block * plan.rows + row) * plan.cols;
      vector_loop(d, 0, block.cols.size(), [&](auto lanes, std::int64_t k) HWY_ATTR {
        apply<true>(
            kMatrices.filter, [&](int f) { return lanes.load(d, from + f * plan.product_step + k); },
            [&](int r, Vector value) {
              const std::int64_t tap = tap_block * kMatrices.kTaps + r;
              if (tap < l.taps)
                lanes.store(d, value, o.dw + (tap * l.c + block.rows.begin + row) * l.k + block.cols.begin + k);
            });
      });
    }
}

template <class Arithmetic, class T>
void wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  using Stored = Products<Arithmetic>;
  const LineImage lines = forward_lines(g);
  const LineOperands<T> operands{lines, cut_lines<T>(lines), x, dy, dw};
  const WinogradWgradPlan plan = wgrad_plan_for(lines, operands.cut);
  float* const scratch = aligned_to_line(workspace);
  with_scheme<T>(lines.taps, [&](auto scheme) {
    using Scheme = decltype(scheme);
    parallel_tasks(plan.tasks.size(), [&](std::int64_t index, int thread) {
      const WinogradWgradBlock<T> block(plan, index, scratch + thread * plan.thread_floats());
      sum_over_tiles<Stored>(plan, block, plan.x_row, operands.cut.tiles, [&](std::int64_t tile, std::int64_t place) {
        transform_line_operands<Scheme, Stored>(operands, plan, block, tile, place);
      });
      transform_line_products<Scheme>(operands, plan, block);
    });
  });
}

}  // namespace

template <class Arithmetic>
WgradPass<typename Arithmetic::Element> winograd_line_wgrad() {
  return wgrad<Arithmetic, typename Arithmetic::Element>;
}

template WgradPass<float> winograd_line_wgrad<FloatArithmetic>();
template WgradPass<BFloat16> winograd_line_wgrad<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template WgradPass<BFloat16> winograd_line_wgrad<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
