// Depthwise convolution, one filter a channel: no matrix product is in it, so each pass runs over vectors of channels,
// which are neighbours in memory. A row of outputs takes kTile pixels at a time, so that a tap's filter is loaded once
// for all of them.
#include <algorithm>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/depthwise.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/gemm/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
using V32 = hn::Vec<F32>;

constexpr std::int64_t kTile = 4;    // output pixels that share a filter's load
constexpr std::int64_t kStrip = 64;  // channels of a task of wgrad

bool serves(ConvPass, const Conv2dGeometry& g) { return g.groups > 1 && g.groups == g.c && g.k == g.c; }

std::size_t workspace_bytes(ConvPass, const Conv2dGeometry&) { return 0; }

/// Taps t in [first, last) of an axis reach from output position `at` into the input: at * stride - pad + t * dilation
/// lies in [0, extent).
struct Taps {
  std::int64_t first, last;
};
Taps taps_inside(std::int64_t start, std::int64_t dilation, std::int64_t taps, std::int64_t extent) {
  const std::int64_t first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
  const std::int64_t last = start >= extent ? 0 : std::min(taps, (extent - 1 - start) / dilation + 1);
  return {std::min(first, taps), std::max(std::min(first, taps), last)};
}

/// One tile of outputs: kTile neighbours of a row, of which some taps may lie outside the image.
template <class T>
struct FpropTile {
  const Conv2dGeometry& g;
  const T *x, *w;  ///< x: the image row under tap row 0, pixel 0, wherever these are
  const Epilogue<T>& epilogue;
  T* y;             ///< of the first output's first channel
  std::int64_t at;  ///< of that element in y, the residual's too
  Taps rows;
  std::int64_t left, pixels;  ///< image column under tap column 0 of the first output; outputs that there are

  /// kColumns: of the filter, or 0 for as many as g says. kWhole: all outputs are there, and all of their taps'
  /// columns. A pixel's taps are summed in the same order in every tile.
  template <std::int64_t kColumns, bool kWhole>
  void run() const {
    const F32 d;
    const std::int64_t c = g.c, step = g.stride_w * c, row_step = g.dilation_h * g.w * c,
                       columns = kColumns > 0 ? kColumns : g.s;
    vector_loop(d, 0, c, [&](auto lanes, std::int64_t i) HWY_ATTR {
      V32 sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
      for (std::int64_t r = rows.first; r < rows.last; ++r) {
        const T* from = x + r * row_step + left * c + i;
        const T* filters = w + r * g.s * c + i;
        for (std::int64_t s = 0; s < columns; ++s, from += g.dilation_w * c, filters += c) {
          const V32 filter = lanes.load(d, filters);
          if constexpr (kWhole) {
            sum0 = hn::MulAdd(filter, lanes.load(d, from), sum0);
            sum1 = hn::MulAdd(filter, lanes.load(d, from + step), sum1);
            sum2 = hn::MulAdd(filter, lanes.load(d, from + 2 * step), sum2);
            sum3 = hn::MulAdd(filter, lanes.load(d, from + 3 * step), sum3);
          } else {
            const std::int64_t column = left + s * g.dilation_w;
            const auto inside = [&](std::int64_t pixel) {
              const std::int64_t at_column = column + pixel * g.stride_w;
              return pixel < pixels && at_column >= 0 && at_column < g.w;
            };
            if (inside(0)) sum0 = hn::MulAdd(filter, lanes.load(d, from), sum0);
            if (inside(1)) sum1 = hn::MulAdd(filter, lanes.load(d, from + step), sum1);
            if (inside(2)) sum2 = hn::MulAdd(filter, lanes.load(d, from + 2 * step), sum2);
            if (inside(3)) sum3 = hn::MulAdd(filter, lanes.load(d, from + 3 * step), sum3);
          }
        }
      }
      const ColumnEpilogue<decltype(lanes), T> finish(lanes, epilogue, i);
      lanes.store(d, finish(sum0, at + i), y + i);
      if (pixels > 1) lanes.store(d, finish(sum1, at + c + i), y + c + i);
      if (pixels > 2) lanes.store(d, finish(sum2, at + 2 * c + i), y + 2 * c + i);
      if (pixels > 3) lanes.store(d, finish(sum3, at + 3 * c + i), y + 3 * c + i);
    });
  }
};

template <class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void*) {
  const std::int64_t p_count = g.p(), q_count = g.q(), c = g.c;
  parallel_for(g.n * p_count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t n = row / p_count, top = row % p_count * g.stride_h - g.pad_h;
      const Taps rows = taps_inside(top, g.dilation_h, g.r, g.h);
      for (std::int64_t q = 0; q < q_count; q += kTile) {
        const std::int64_t pixels = std::min(kTile, q_count - q), left = q * g.stride_w - g.pad_w,
                           at = (row * q_count + q) * c;
        const bool whole =
            pixels == kTile && left >= 0 && left + (kTile - 1) * g.stride_w + (g.s - 1) * g.dilation_w < g.w;
        const FpropTile<T> tile{g, x + (n * g.h + top) * g.w * c, w, epilogue, y + at, at, rows, left, pixels};
        const auto run = [&](auto columns) {
          constexpr std::int64_t kColumns = decltype(columns)::value;
          whole ? tile.template run<kColumns, true>() : tile.template run<kColumns, false>();
        };
        if (g.s == 3)
          run(std::integral_constant<std::int64_t, 3>());
        else if (g.s == 5)
          run(std::integral_constant<std::int64_t, 5>());
        else
          run(std::integral_constant<std::int64_t, 0>());
      }
    }
  });
}

/// Each element of dx gathers the outputs whose windows cover it.
template <class T>
void dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void*) {
  const std::int64_t p_count = g.p(), q_count = g.q(), c = g.c;
  parallel_for(g.n * g.h, 1, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t n = row / g.h, bottom = row % g.h + g.pad_h;
      for (std::int64_t column = 0; column < g.w; ++column) {
        const std::int64_t right = column + g.pad_w;
        vector_loop(d, 0, c, [&](auto lanes, std::int64_t i) HWY_ATTR {
          V32 sum = hn::Zero(d);
          for (std::int64_t r = 0; r < g.r; ++r) {
            const std::int64_t up = bottom - r * g.dilation_h, p = up / g.stride_h;
            if (up < 0 || up % g.stride_h != 0 || p >= p_count) continue;
            for (std::int64_t s = 0; s < g.s; ++s) {
              const std::int64_t over = right - s * g.dilation_w, q = over / g.stride_w;
              if (over < 0 || over % g.stride_w != 0 || q >= q_count) continue;
              sum = hn::MulAdd(lanes.load(d, w + (r * g.s + s) * c + i),
                               lanes.load(d, dy + ((n * p_count + p) * q_count + q) * c + i), sum);
            }
          }
          lanes.store(d, sum, dx + (row * g.w + column) * c + i);
        });
      }
    }
  });
}

/// A task has the filters of a strip of channels and one row of taps; each row of outputs is added in float, the rows
/// in double.
template <class T>
void wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void*) {
  const std::int64_t p_count = g.p(), q_count = g.q(), c = g.c, strips = (c + kStrip - 1) / kStrip;
  parallel_for(strips * g.r * g.s, 1, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t r = task / strips / g.s, s = task / strips % g.s, first = task % strips * kStrip;
      const std::int64_t width = std::min(kStrip, c - first);
      double sums[kStrip] = {};
      HWY_ALIGN float part[kStrip];
      for (std::int64_t row = 0; row < g.n * p_count; ++row) {
        const std::int64_t n = row / p_count, from_row = row % p_count * g.stride_h - g.pad_h + r * g.dilation_h;
        if (from_row < 0 || from_row >= g.h) continue;
        const T* const image = x + (n * g.h + from_row) * g.w * c;
        const T* const gradient = dy + row * q_count * c;
        vector_loop(d, 0, width, [&](auto lanes, std::int64_t i) HWY_ATTR {
          V32 sum = hn::Zero(d);
          for (std::int64_t q = 0; q < q_count; ++q) {
            const std::int64_t column = q * g.stride_w - g.pad_w + s * g.dilation_w;
            if (column < 0 || column >= g.w) continue;
            sum = hn::MulAdd(lanes.load(d, image + column * c + first + i), lanes.load(d, gradient + q * c + first + i),
                             sum);
          }
          lanes.store(d, sum, part + i);
        });
        for (std::int64_t i = 0; i < width; ++i) sums[i] += part[i];
      }
      for (std::int64_t i = 0; i < width; ++i) dw[(r * g.s + s) * c + first + i] = static_cast<float>(sums[i]);
    }
  });
}

}  // namespace

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> depthwise() {
  using T = typename Arithmetic::Element;
  return {
      .serves = serves, .workspace_bytes = workspace_bytes, .fprop = fprop<T>, .dgrad = dgrad<T>, .wgrad = wgrad<T>};
}

template ConvAlgorithm<float> depthwise<FloatArithmetic>();
template ConvAlgorithm<BFloat16> depthwise<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> depthwise<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
