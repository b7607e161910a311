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

/// A pixel of zeros for fprop.
template <class T>
std::size_t workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  return pass == ConvPass::fprop ? static_cast<std::size_t>(g.c) * sizeof(T) : 0;
}

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

/// Up to kTile neighbouring outputs of a row, of which some taps may lie outside the image.
template <class T>
struct FpropTile {
  const Conv2dGeometry& g;
  const T *x, *w;  ///< x: the image row under tap row 0, pixel 0, wherever these are
  const Epilogue<T>& epilogue;
  T* y;             ///< of the first output's first channel
  std::int64_t at;  ///< of that element in y, the residual's too
  Taps rows;
  std::int64_t left, pixels;  ///< image column under tap column 0 of the first output; outputs that there are
  const T* zeros;             ///< a pixel outside the image

  std::int64_t row_step() const { return g.dilation_h * g.w * g.c; }

  /// Channels [begin, end) for any filter, stride and dilation.
  void run(std::int64_t begin, std::int64_t end) const {
    const F32 d;
    vector_loop(d, begin, end, [&](auto lanes, std::int64_t i) HWY_ATTR {
      V32 sums[kTile] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
      for (std::int64_t r = rows.first; r < rows.last; ++r)
        for (std::int64_t s = 0; s < g.s; ++s) {
          const V32 filter = lanes.load(d, w + (r * g.s + s) * g.c + i);
          for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
            const std::int64_t column = left + pixel * g.stride_w + s * g.dilation_w;
            if (column < 0 || column >= g.w) continue;
            sums[pixel] = hn::MulAdd(filter, lanes.load(d, x + r * row_step() + column * g.c + i), sums[pixel]);
          }
        }
      store(lanes, i, sums);
    });
  }

  /// The same for filters of kTaps columns and at most as many rows, undilated: a column of the image is loaded once
  /// for all outputs that see it. A pixel's taps are summed in the same order as above.
  template <std::int64_t kTaps, std::int64_t kStride>
  void run(std::int64_t begin, std::int64_t end) const {
    constexpr std::int64_t kColumns = (kTile - 1) * kStride + kTaps;
    if (left >= 0 && left + kColumns <= g.w) {
      const T* const first = x + left * g.c;
      return run_columns<kTaps, kStride>(
          begin, end, [&](std::int64_t r, std::int64_t column) { return first + r * row_step() + column * g.c; });
    }
    const T* columns[kTaps][kColumns];
    for (std::int64_t r = rows.first; r < rows.last; ++r)
      for (std::int64_t column = 0; column < kColumns; ++column) {
        const bool inside = left + column >= 0 && left + column < g.w;
        columns[r][column] = inside ? x + r * row_step() + (left + column) * g.c : zeros;
      }
    run_columns<kTaps, kStride>(begin, end, [&](std::int64_t r, std::int64_t column) { return columns[r][column]; });
  }

 private:
  /// column(r, j): where the pixel under tap row r and column j of the tile has its channels.
  template <std::int64_t kTaps, std::int64_t kStride, class Column>
  HWY_INLINE void run_columns(std::int64_t begin, std::int64_t end, const Column& column) const {
    const F32 d;
    vector_loop(d, begin, end, [&](auto lanes, std::int64_t i) HWY_ATTR {
      V32 sums[kTile] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
      for (std::int64_t r = rows.first; r < rows.last; ++r) {
        V32 filters[kTaps];
#pragma GCC unroll 8
        for (std::int64_t s = 0; s < kTaps; ++s) filters[s] = lanes.load(d, w + (r * kTaps + s) * g.c + i);
#pragma GCC unroll 16
        for (std::int64_t j = 0; j < (kTile - 1) * kStride + kTaps; ++j) {
          const V32 pixel = lanes.load(d, column(r, j) + i);
#pragma GCC unroll 4
          for (std::int64_t t = 0; t < kTile; ++t) {
            const std::int64_t s = j - t * kStride;
            if (s >= 0 && s < kTaps) sums[t] = hn::MulAdd(filters[s], pixel, sums[t]);
          }
        }
      }
      store(lanes, i, sums);
    });
  }

  template <class Lanes>
  HWY_INLINE void store(Lanes lanes, std::int64_t i, const V32 (&sums)[kTile]) const {
    const F32 d;
    const ColumnEpilogue<Lanes, T> finish(lanes, epilogue, i);
#pragma GCC unroll 4
    for (std::int64_t t = 0; t < kTile; ++t)
      if (t < pixels) lanes.store(d, finish(sums[t], at + t * g.c + i), y + t * g.c + i);
  }
};

/// Channels whose filters stay in the L1 cache while a row of outputs is computed.
std::int64_t channels_at_once(const Conv2dGeometry& g) {
  constexpr std::int64_t kFilterFloats = 4096, kLine = 16;
  return std::max<std::int64_t>(4 * kLine, kFilterFloats / (g.r * g.s) / kLine * kLine);
}

template <class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void* workspace) {
  const std::int64_t p_count = g.p(), q_count = g.q(), c = g.c, step = channels_at_once(g);
  T* const zeros = static_cast<T*>(workspace);
  std::fill_n(zeros, c, T(0.0f));
  const bool undilated = g.dilation_h == 1 && g.dilation_w == 1 && g.r <= g.s;
  parallel_for(g.n * p_count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t n = row / p_count, top = row % p_count * g.stride_h - g.pad_h;
      const Taps rows = taps_inside(top, g.dilation_h, g.r, g.h);
      for (std::int64_t first = 0; first < c; first += step) {
        const std::int64_t last = std::min(c, first + step);
        for (std::int64_t q = 0; q < q_count; q += kTile) {
          const std::int64_t at = (row * q_count + q) * c;
          const FpropTile<T> tile{.g = g,
                                  .x = x + (n * g.h + top) * g.w * c,
                                  .w = w,
                                  .epilogue = epilogue,
                                  .y = y + at,
                                  .at = at,
                                  .rows = rows,
                                  .left = q * g.stride_w - g.pad_w,
                                  .pixels = std::min(kTile, q_count - q),
                                  .zeros = zeros};
          if (undilated && g.s == 3 && g.stride_w == 1)
            tile.template run<3, 1>(first, last);
          else if (undilated && g.s == 3 && g.stride_w == 2)
            tile.template run<3, 2>(first, last);
          else if (undilated && g.s == 5 && g.stride_w == 1)
            tile.template run<5, 1>(first, last);
          else if (undilated && g.s == 5 && g.stride_w == 2)
            tile.template run<5, 2>(first, last);
          else
            tile.run(first, last);
        }
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
      .serves = serves, .workspace_bytes = workspace_bytes<T>, .fprop = fprop<T>, .dgrad = dgrad<T>, .wgrad = wgrad<T>};
}

template ConvAlgorithm<float> depthwise<FloatArithmetic>();
template ConvAlgorithm<BFloat16> depthwise<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> depthwise<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
