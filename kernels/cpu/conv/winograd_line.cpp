// fprop and dgrad by Winograd's algorithm along one axis (see winograd_line.h), and the algorithm as conv2d.cpp takes
// it.
#include "kernels/cpu/conv/winograd_line.h"

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/winograd_line_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/winograd_line.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/winograd_line-inl.h"
#include "kernels/cpu/conv/winograd_product-inl.h"
#include "kernels/cpu/gemm/epilogue-inl.h"
#include "kernels/cpu/gemm/pack-inl.h"

#ifndef RETORT_WINOGRAD_LINE_PRODUCT_
#define RETORT_WINOGRAD_LINE_PRODUCT_
namespace retort::cpu {
namespace {

/// w [taps, c, k] as the product sees it; for dgrad `turned`: taps reversed, columns and depth exchanged.
template <class T>
struct LineFilter {
  const T* data;
  bool turned;
};

template <class T>
struct LineProduct {
  LineImage lines;
  LineTiles cut;
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

/// In winograd_line_wgrad.cpp.
template <class Arithmetic>
WgradPass<typename Arithmetic::Element> winograd_line_wgrad();

namespace {

/// A sliver of columns of the filters over kFilterDepths channels from `first` on, transformed.
template <class Scheme, class Stored, class T>
void transform_line_filters(const LineImage& l, const LineTiles& cut, const WinogradProductPlan<T>& plan,
                            const LineFilter<T>& w, std::int64_t sliver, std::int64_t first, float* filters) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const std::int64_t col = sliver * kSliver, cols = std::min(kSliver, l.k - col);
  const std::int64_t width = cols <= kLanes ? kLanes : kSliver;  // whole vectors, not beyond those with columns
  const std::int64_t channels = std::min(kFilterDepths, l.c - first);
  HWY_ALIGN float taps[kMatrices.kTaps][kFilterDepths * kSliver];
  HWY_ALIGN float first_halves[kMatrices.kIn * kSliver];  // of lanes that a second depth completes
  for (std::int64_t block = 0; block < cut.tap_blocks; ++block) {
    for (std::int64_t r = 0; r < kMatrices.kTaps; ++r) {
      const std::int64_t tap = block * kMatrices.kTaps + r;
      if (tap >= l.taps)
        std::fill_n(taps[r], channels * width, 0.0f);
      else if (w.turned)
        pack_columns(w.data + ((l.taps - 1 - tap) * l.k + col) * l.c + first, l.c, channels, cols, width, taps[r]);
      else
        pack_rows(w.data + (tap * l.c + first) * l.k + col, l.k, channels, cols, width, taps[r]);
    }
    const std::int64_t lane = (sliver * cut.tap_blocks + block) * plan.channel_lanes + first / kLaneDepths<T>;
    for (std::int64_t i = 0; i < channels; ++i) {
      float* const to = filters + (lane + i / kLaneDepths<T>)*kSliver;
      const FilterDepth<Stored> of_lane(i, i == channels - 1);
      for (std::int64_t v = 0; v < width; v += kLanes)
        apply<false>(
            kMatrices.filter, [&](int r) { return hn::Load(d, taps[r] + i * width + v); },
            [&](int f, Vector value) {
              of_lane.store(value, first_halves + f * kSliver + v, to + f * plan.filter_step + v);
            });
    }
  }
  hwy::FlushStream();  // streamed stores are not ordered by the synchronisation that follows
}

/// The inputs of some tiles, transformed (WinogradProductPlan has the layout). Beyond an odd depth lies a zero.
template <class Scheme, class Stored, class T>
void transform_line_inputs(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, const Range& tiles,
                           const T* zeros, T* panels) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const LineImage& l = product.lines;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const std::int64_t line = tile / product.cut.per_line, place = tile % product.cut.per_line;
    for (std::int64_t tap_block = 0; tap_block < product.cut.tap_blocks; ++tap_block) {
      const Pixels<T, kMatrices.kIn> pixels(product.x + l.first_pixel(line, l.in) * l.c, l.step() * l.c, l.in,
                                            place * kMatrices.kOut + tap_block * kMatrices.kTaps - l.pad, zeros);
      for (std::int64_t block = 0; block < plan.channel_blocks; ++block) {
        T* const row = panels + (tap_block * plan.channel_blocks + block) * plan.block_step +
                       (tile - tiles.begin) * kPanelRowStride<T>;
        const std::int64_t first = block * plan.block_channels, end = std::min(first + plan.block_channels, l.c);
        vector_loop(d, first, end, [&](auto lanes, std::int64_t c) HWY_ATTR {
          apply<false>(
              kMatrices.input, [&](int i) { return lanes.load(d, pixels.at[i] + c); },
              [&](int f, Vector value) { Stored::store_element(value, row + f * plan.panel_step + c - first); });
        });
        if ((end - first) % kLaneDepths<T> != 0)
          for (std::int64_t f = 0; f < product.cut.products; ++f) row[f * plan.panel_step + end - first] = T(0.0f);
      }
    }
  }
}

template <class Scheme, class T>
void transform_line_outputs(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, const Range& tiles,
                            const Range& cols, const float* products) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const LineImage& l = product.lines;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const std::int64_t line = tile / product.cut.per_line;
    const std::int64_t first = tile % product.cut.per_line * kMatrices.kOut;
    const float* const from = products + (tile - tiles.begin) * kGroupCols;
    const std::int64_t to = (l.first_pixel(line, l.out) + first * l.step()) * l.k + cols.begin;
    vector_loop(d, 0, cols.size(), [&](auto lanes, std::int64_t k) HWY_ATTR {
      const ColumnEpilogue<decltype(lanes), T> epilogue(lanes, product.epilogue, cols.begin + k);
      apply<false>(
          kMatrices.output, [&](int f) { return hn::LoadU(d, from + f * plan.product_step + k); },
          [&](int i, Vector value) {
            if (first + i >= l.out) return;
            const std::int64_t at = to + i * l.step() * l.k + k;
            lanes.store(d, epilogue(value, at), product.y + at);
          });
    });
  }
}

template <class T>
WinogradProductPlan<T> plan_for(const LineImage& l, const LineTiles& cut) {
  return {cut.products, cut.tap_blocks, cut.tiles, l.c, l.k};
}

template <class T>
std::size_t workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  const LineImage lines = pass == ConvPass::dgrad ? backward_lines(g) : forward_lines(g);
  const LineTiles cut = cut_lines<T>(lines);
  if (pass == ConvPass::wgrad) return wgrad_plan_for(lines, cut).bytes();
  return plan_for<T>(lines, cut).bytes();
}

template <class Scheme, class Arithmetic, class T>
void run_product(const LineProduct<T>& product, const LineFilter<T>& w, void* workspace) {
  using Stored = Products<Arithmetic>;
  const LineImage& l = product.lines;
  const WinogradProductPlan<T> plan = plan_for<T>(l, product.cut);
  const std::int64_t slivers = divide_up(l.k, kSliver), depth_blocks = divide_up(l.c, kFilterDepths);
  run_product_tasks(
      plan, slivers * depth_blocks, workspace,
      [&](std::int64_t i, float* filters) {
        transform_line_filters<Scheme, Stored>(l, product.cut, plan, w, i / depth_blocks,
                                               i % depth_blocks * kFilterDepths, filters);
      },
      [&](std::int64_t index, const float* filters, float* scratch) {
        run_product_task<Stored>(
            plan, index, filters, scratch,
            [&](const Range& tiles, const T* zeros, T* panels) {
              transform_line_inputs<Scheme, Stored>(product, plan, tiles, zeros, panels);
            },
            [&](const Range& tiles, const Range& cols, const float* products) {
              transform_line_outputs<Scheme>(product, plan, tiles, cols, products);
            });
      });
}

template <class Arithmetic, class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void* workspace) {
  const LineImage lines = forward_lines(g);
  with_scheme<T>(lines.taps, [&](auto scheme) {
    run_product<decltype(scheme), Arithmetic, T>({lines, cut_lines<T>(lines), x, epilogue, y}, {w, /*turned=*/false},
                                                 workspace);
  });
}

template <class Arithmetic, class T>
void dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  const LineImage lines = backward_lines(g);
  with_scheme<T>(lines.taps, [&](auto scheme) {
    run_product<decltype(scheme), Arithmetic, T>({lines, cut_lines<T>(lines), dy, {}, dx}, {w, /*turned=*/true},
                                                 workspace);
  });
}

}  // namespace

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> winograd_line() {
  using T = typename Arithmetic::Element;
  return {.serves = use_winograd_line<T>,
          .workspace_bytes = workspace_bytes<T>,
          .fprop = fprop<Arithmetic, T>,
          .dgrad = dgrad<Arithmetic, T>,
          .wgrad = winograd_line_wgrad<Arithmetic>()};
}

template ConvAlgorithm<float> winograd_line<FloatArithmetic>();
template ConvAlgorithm<BFloat16> winograd_line<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> winograd_line<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

/// The algorithm serves where it divides the number of multiplications by at least this.
constexpr double kMinSaving = 1.5;
constexpr std::int64_t kMaxTaps = 8;
/// The depth of wgrad's products is the number of tiles. With fewer, the transforms in f32 cost more than the direct
/// sum in bf16.
constexpr std::int64_t kMinTilesBf16 = 128;

}  // namespace

template <class T>
bool use_winograd_line(ConvPass pass, const Conv2dGeometry& g) {
  const bool along_w = g.r == 1;
  if (!winograd_serves(g) || (g.r != 1 && g.s != 1) || (along_w ? g.p() != g.h : g.q() != g.w)) return false;
  const LineImage lines = pass == ConvPass::dgrad ? backward_lines(g) : forward_lines(g);
  if (lines.taps < 3 || lines.taps > kMaxTaps || lines.pad < 0 || lines.pad >= lines.taps) return false;
  const LineTiles cut = cut_lines<T>(lines);
  if (sizeof(T) == 2 && pass == ConvPass::wgrad && cut.tiles < kMinTilesBf16) return false;
  return static_cast<double>(lines.taps * lines.out) >=
         kMinSaving * static_cast<double>(cut.products * cut.tap_blocks * cut.per_line);
}

template bool use_winograd_line<float>(ConvPass, const Conv2dGeometry&);
template bool use_winograd_line<BFloat16>(ConvPass, const Conv2dGeometry&);

}  // namespace retort::cpu
#endif  // HWY_ONCE
