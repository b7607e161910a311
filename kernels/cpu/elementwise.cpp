// Elementwise kernels, copies of channels and the option A shortcut, with vectors and threads (contract:
// kernels/elementwise.h). T: float or BFloat16; arithmetic is in float.
#include "kernels/elementwise.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;

// Elements per task at least: below this, handing work to a thread costs more than it saves.
constexpr std::int64_t kGrain = 16384;
constexpr std::int64_t kByteGrain = 65536;  // bytes per task at least, of kernels that only copy

template <class T>
std::int64_t rows_per_task(std::int64_t channels) {
  return kByteGrain / std::max<std::int64_t>(1, channels * static_cast<std::int64_t>(sizeof(T))) + 1;
}

template <class T>
void copy(T* to, const T* from, std::int64_t count) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

template <class T>
void fill(Stream, std::int64_t n, double value, T* y) {
  parallel_for(n, kByteGrain, [=](std::int64_t begin, std::int64_t end) {
    std::fill(y + begin, y + end, T(static_cast<float>(value)));
  });
}

template <class T>
void add(Stream, std::int64_t n, const T* a, const T* b, T* y) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto lanes, std::int64_t i) HWY_ATTR {
      lanes.store(d, hn::Add(lanes.load(d, a + i), lanes.load(d, b + i)), y + i);
    });
  });
}

template <class T>
void scale(Stream, std::int64_t n, double factor, const T* x, T* y) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    const auto by = hn::Set(d, static_cast<float>(factor));
    vector_loop(d, begin, end,
                [=](auto lanes, std::int64_t i) HWY_ATTR { lanes.store(d, hn::Mul(by, lanes.load(d, x + i)), y + i); });
  });
}

template <class T>
void scale_by(Stream stream, std::int64_t n, const float* factor, const T* x, T* y) {
  if (*factor != 1 || x != y) scale<T>(stream, n, *factor, x, y);
}

template <class T>
void relu_forward(Stream, std::int64_t n, const T* x, T* y) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end,
                [=](auto lanes, std::int64_t i) HWY_ATTR { lanes.store(d, relu(d, lanes.load(d, x + i)), y + i); });
  });
}

template <class T>
void relu_backward(Stream, std::int64_t n, const T* y, const T* dy, T* dx) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto lanes, std::int64_t i) HWY_ATTR {
      const auto passes = hn::Gt(lanes.load(d, y + i), hn::Zero(d));
      lanes.store(d, hn::IfThenElseZero(passes, lanes.load(d, dy + i)), dx + i);
    });
  });
}

template <class T>
void copy_channels(Stream, const ChannelCopy& c, const T* source, T* target) {
  parallel_for(c.rows, rows_per_task<T>(c.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      copy(target + row * c.target_channels + c.target_begin, source + row * c.source_channels + c.source_begin,
           c.count);
  });
}

// ---------------------------------------------------------------------------------------------- conversion

template <class From, class To>
void convert_elements(std::int64_t n, const From* x, To* y) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<From, double> || std::is_same_v<To, double>)
      std::transform(x + begin, x + end, y + begin, [](From value) { return static_cast<To>(value); });
    else
      copy_elements(begin, end, x, y);
  });
}

/// Calls f with an element of the dtype.
template <class F>
void with_element(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f64: return f(double{});
    case DType::bf16: return f(BFloat16{});
    default: return f(float{});
  }
}

void convert(Stream, std::int64_t n, DType from, const void* x, DType to, void* y) {
  with_element(from, [&](auto source) {
    with_element(to, [&](auto target) {
      convert_elements(n, static_cast<const decltype(source)*>(x), static_cast<decltype(target)*>(y));
    });
  });
}

// ---------------------------------------------------------------------------------------------- sums of rows

/// sums[0, width) = sums of columns of x [rows, stride], blocks of 64 rows in float, the blocks in double.
template <class T>
void add_rows(std::int64_t rows, std::int64_t stride, std::int64_t width, const T* x, double* sums) {
  constexpr std::int64_t kBlock = 64;
  const F32 d;
  const hn::ScalableTag<double> d64;
  const hn::Rebind<float, hn::ScalableTag<double>> half;
  std::fill(sums, sums + width, 0.0);
  HWY_ALIGN float block[hn::MaxLanes(d)];
  for (std::int64_t row = 0; row < rows; row += kBlock)
    vector_loop(d, 0, width, [&](auto lanes, std::int64_t i) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (std::int64_t r = row; r < std::min(rows, row + kBlock); ++r)
        sum = hn::Add(sum, lanes.load(d, x + r * stride + i));
      hn::Store(sum, d, block);
      const std::int64_t count = std::min<std::int64_t>(width - i, static_cast<std::int64_t>(hn::Lanes(d)));
      vector_loop(d64, 0, count, [&](auto wide, std::int64_t j) HWY_ATTR {
        const auto promoted = hn::PromoteTo(d64, hn::LoadU(half, block + j));
        wide.store(d64, hn::Add(wide.load(d64, sums + i + j), promoted), sums + i + j);
      });
    });
}

std::size_t sum_rows_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

/// Strips of channels, each cut into a fixed number of row ranges so that few channels occupy several threads too: the
/// result does not depend on the number of threads.
template <class T>
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const T* x, float* y, void*) {
  constexpr std::int64_t kStrip = 64, kStrips = 8, kRanges = 8;
  const std::int64_t ranges = std::clamp<std::int64_t>(rows / 256, 1, kRanges);
  double partial[kRanges][kStrips * kStrip];
  for (std::int64_t first = 0; first < channels; first += kStrips * kStrip) {
    const std::int64_t width = std::min(channels - first, kStrips * kStrip);
    const std::int64_t strips = (width + kStrip - 1) / kStrip;
    parallel_tasks(strips * ranges, [&](std::int64_t task, int) {
      const std::int64_t range = task / strips, strip = task % strips * kStrip;
      const std::int64_t begin = rows * range / ranges, end = rows * (range + 1) / ranges;
      add_rows(end - begin, channels, std::min(kStrip, width - strip), x + begin * channels + first + strip,
               partial[range] + strip);
    });
    for (std::int64_t c = 0; c < width; ++c) {
      double sum = 0;
      for (std::int64_t range = 0; range < ranges; ++range) sum += partial[range][c];
      y[first + c] = static_cast<float>(sum);
    }
  }
}

// ---------------------------------------------------------------------------------------------- shortcut

template <class T>
void shortcut_forward(Stream, const ShortcutGeometry& g, const T* x, T* y) {
  const std::int64_t rows = g.p(), columns = g.q(), before = g.before();
  parallel_for(g.n * rows, rows_per_task<T>(columns * g.k), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t q = 0; q < columns; ++q) {
        const std::int64_t n = row / rows, p = row % rows;
        T* pixel = y + (row * columns + q) * g.k;
        std::fill(pixel, pixel + before, T(0.0f));
        copy(pixel + before, x + ((n * g.h + p * g.stride) * g.w + q * g.stride) * g.c, g.c);
        std::fill(pixel + before + g.c, pixel + g.k, T(0.0f));
      }
  });
}

template <class T>
void shortcut_backward(Stream, const ShortcutGeometry& g, const T* dy, T* dx) {
  const std::int64_t rows = g.p(), columns = g.q(), before = g.before();
  parallel_for(g.n * g.h, rows_per_task<T>(g.w * g.c), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t j = 0; j < g.w; ++j) {
        const std::int64_t n = row / g.h, i = row % g.h;
        T* pixel = dx + (row * g.w + j) * g.c;
        if (i % g.stride == 0 && j % g.stride == 0)
          copy(pixel, dy + ((n * rows + i / g.stride) * columns + j / g.stride) * g.k + before, g.c);
        else
          std::fill(pixel, pixel + g.c, T(0.0f));
      }
  });
}

}  // namespace

template <class T>
ElementwiseKernels elementwise() {
  return {.fill = entry<fill<T>>,
          .add = entry<add<T>>,
          .scale = entry<scale<T>>,
          .relu_forward = entry<relu_forward<T>>,
          .relu_backward = entry<relu_backward<T>>,
          .copy_channels = entry<copy_channels<T>>,
          .convert = convert,
          .scale_by = entry<scale_by<T>>,
          .sum_rows_workspace_bytes = sum_rows_workspace_bytes,
          .sum_rows = entry<sum_rows<T>>,
          .shortcut_forward = entry<shortcut_forward<T>>,
          .shortcut_backward = entry<shortcut_backward<T>>};
}

template ElementwiseKernels elementwise<float>();
template ElementwiseKernels elementwise<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
