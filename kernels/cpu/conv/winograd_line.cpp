#include "kernels/cpu/conv/winograd_line.h"

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

/// A sliver of columns of the filters over kFilterDepths channels from `first` on, transformed.
template <class Scheme, class Products, class T>
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
      float* const lanes = filters + (lane + i / kLaneDepths<T>)*kSliver;
      const FilterDepth<Products> of_lane(i, i == channels - 1);
      for (std::int64_t v = 0; v < width; v += kLanes)
        apply<false>(
            kMatrices.filter, [&](int r) { return hn::Load(d, taps[r] + i * width + v); },
            [&](int f, Vector value) {
              of_lane.store(value, first_halves + f * kSliver + v, lanes + f * plan.filter_step + v);
            });
    }
  }
  hwy::FlushStream();  // streamed stores are not ordered by what tells the other threads
}

/// The inputs of a span of tiles, transformed (WinogradProductPlan has the layout). Beyond an odd depth lies a zero.
template <class Scheme, class Products, class T>
void transform_line_inputs(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, const Span& tiles,
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
        vector_loop(d, first, end, [&](auto span, std::int64_t c) HWY_ATTR {
          apply<false>(
              kMatrices.input, [&](int i) { return span.load(d, pixels.at[i] + c); },
              [&](int f, Vector value) { Products::store_element(value, row + f * plan.panel_step + c - first); });
        });
        if ((end - first) % kLaneDepths<T> != 0)
          for (std::int64_t f = 0; f < product.cut.products; ++f) row[f * plan.panel_step + end - first] = T(0.0f);
      }
    }
  }
}

template <class Scheme, class T>
void transform_line_outputs(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, const Span& tiles,
                            const Span& cols, const float* products) {
  constexpr auto& kMatrices = Scheme::kMatrices;
  const F32 d;
  const LineImage& l = product.lines;
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const std::int64_t line = tile / product.cut.per_line;
    const std::int64_t first = tile % product.cut.per_line * kMatrices.kOut;
    const float* const from = products + (tile - tiles.begin) * kGroupCols;
    const std::int64_t to = (l.first_pixel(line, l.out) + first * l.step()) * l.k + cols.begin;
    vector_loop(d, 0, cols.size(), [&](auto span, std::int64_t k) HWY_ATTR {
      const ColumnEpilogue<decltype(span), T> epilogue(span, product.epilogue, cols.begin + k);
      apply<false>(
          kMatrices.output, [&](int f) { return hn::LoadU(d, from + f * plan.product_step + k); },
          [&](int i, Vector value) {
            if (first + i >= l.out) return;
            const std::int64_t at = to + i * l.step() * l.k + k;
            span.store(d, epilogue(value, at), product.y + at);
          });
    });
  }
}

template <class T>
void run_line_task(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, std::int64_t index,
                   const float* filters, float* scratch) {
  with_scheme<T>(product.lines.taps, [&](auto scheme) {
    using Scheme = decltype(scheme);
    run_product_task(
        plan, index, filters, scratch,
        [&](auto arithmetic, const Span& tiles, const T* zeros, T* panels) {
          transform_line_inputs<Scheme, decltype(arithmetic)>(product, plan, tiles, zeros, panels);
        },
        [&](const Span& tiles, const Span& cols, const float* products) {
          transform_line_outputs<Scheme>(product, plan, tiles, cols, products);
        });
  });
}

template <class T>
void run_line_filter_task(const LineProduct<T>& product, const WinogradProductPlan<T>& plan, const LineFilter<T>& w,
                          std::int64_t index, float* filters) {
  const std::int64_t parts = winograd_divide_up(product.lines.c, kFilterDepths);
  with_scheme<T>(product.lines.taps, [&](auto scheme) {
    with_products<T>([&](auto arithmetic) {
      transform_line_filters<decltype(scheme), decltype(arithmetic)>(product.lines, product.cut, plan, w, index / parts,
                                                                     index % parts * kFilterDepths, filters);
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

/// The least direct multiplications for one of ours.
constexpr double kLeastSaving = 1.5;
constexpr std::int64_t kMostTaps = 8;
/// wgrad's products are as deep as there are tiles. Those of bf16 soon cost less than the transforms in f32.
constexpr std::int64_t kLeastTilesBf16 = 128;

template <class T>
WinogradProductPlan<T> plan_for(const LineImage& l, const LineTiles& cut) {
  return {cut.products, cut.tap_blocks, cut.tiles, l.c, l.k};
}

template <class T>
void run_product(const LineProduct<T>& product, const LineFilter<T>& w, void* workspace) {
  const WinogradProductPlan<T> plan = plan_for<T>(product.lines, product.cut);
  const std::int64_t slivers = winograd_divide_up(product.lines.k, RETORT_SIMD_SELECT(sliver_cols)());
  run_product_tasks(
      plan, slivers * winograd_divide_up(product.lines.c, kFilterDepths), workspace,
      [&](std::int64_t i, float* filters) {
        RETORT_SIMD_SELECT(run_line_filter_task<T>)(product, plan, w, i, filters);
      },
      [&](std::int64_t index, const float* filters, float* scratch) {
        RETORT_SIMD_SELECT(run_line_task<T>)(product, plan, index, filters, scratch);
      });
}

}  // namespace

template <class T>
bool use_winograd_line(ConvPass pass, const Conv2dGeometry& g) {
  const bool along_w = g.r == 1;
  if (!winograd_serves(g) || (g.r != 1 && g.s != 1) || (along_w ? g.pad_h : g.pad_w) != 0) return false;
  const LineImage lines = pass == ConvPass::dgrad ? backward_lines(g) : forward_lines(g);
  if (lines.taps < 3 || lines.taps > kMostTaps || lines.pad < 0 || lines.pad >= lines.taps) return false;
  const LineTiles cut = cut_lines<T>(lines);
  if (sizeof(T) == 2 && pass == ConvPass::wgrad && cut.tiles < kLeastTilesBf16) return false;
  return static_cast<double>(lines.taps * lines.out) >=
         kLeastSaving * static_cast<double>(cut.products * cut.tap_blocks * cut.per_line);
}

template <class T>
void winograd_line_fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y,
                         void* workspace) {
  const LineImage lines = forward_lines(g);
  run_product<T>({lines, cut_lines<T>(lines), x, epilogue, y}, {w, /*turned=*/false}, workspace);
}

template <class T>
void winograd_line_dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  const LineImage lines = backward_lines(g);
  run_product<T>({lines, cut_lines<T>(lines), dy, {}, dx}, {w, /*turned=*/true}, workspace);
}

template <class T>
std::size_t winograd_line_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  const LineImage lines = pass == ConvPass::dgrad ? backward_lines(g) : forward_lines(g);
  const LineTiles cut = cut_lines<T>(lines);
  if (pass == ConvPass::wgrad) return wgrad_plan_for(lines, cut).bytes();
  return plan_for<T>(lines, cut).bytes();
}

#define RETORT_INSTANTIATE(T)                                                                                     \
  template void winograd_line_fprop<T>(const Conv2dGeometry&, const T*, const T*, const Epilogue<T>&, T*, void*); \
  template void winograd_line_dgrad<T>(const Conv2dGeometry&, const T*, const T*, T*, void*);                     \
  template bool use_winograd_line<T>(ConvPass, const Conv2dGeometry&);                                            \
  template std::size_t winograd_line_workspace_bytes<T>(ConvPass, const Conv2dGeometry&);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace retort::cpu
#endif  // HWY_ONCE
