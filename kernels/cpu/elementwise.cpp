#include "kernels/cpu/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/reference/table.h"
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

using F32 = hn::ScalableTag<float>;

// Elements per task at least: below this, handing work to a thread costs more than it saves.
constexpr std::int64_t kGrain = 16384;

template <class T>
void add(Stream, std::int64_t n, const void* a_, const void* b_, void* y_) {
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  T* y = static_cast<T*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto span, std::int64_t i) HWY_ATTR {
      span.store(d, hn::Add(span.load(d, a + i), span.load(d, b + i)), y + i);
    });
  });
}

template <class T>
void scale(Stream, std::int64_t n, double factor, const void* x_, void* y_) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    const auto by = hn::Set(d, static_cast<float>(factor));
    vector_loop(d, begin, end,
                [=](auto span, std::int64_t i) HWY_ATTR { span.store(d, hn::Mul(by, span.load(d, x + i)), y + i); });
  });
}

template <class T>
void relu_forward(Stream, std::int64_t n, const void* x_, void* y_) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end,
                [=](auto span, std::int64_t i) HWY_ATTR { span.store(d, relu(d, span.load(d, x + i)), y + i); });
  });
}

template <class T>
void relu_backward(Stream, std::int64_t n, const void* y_, const void* dy_, void* dx_) {
  const T* y = static_cast<const T*>(y_);
  const T* dy = static_cast<const T*>(dy_);
  T* dx = static_cast<T*>(dx_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto span, std::int64_t i) HWY_ATTR {
      const auto passes = hn::Gt(span.load(d, y + i), hn::Zero(d));
      span.store(d, hn::IfThenElseZero(passes, span.load(d, dy + i)), dx + i);
    });
  });
}

template <class From, class To>
void convert_elements(std::int64_t n, const From* x, To* y) {
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto span, std::int64_t i) HWY_ATTR { span.store(d, span.load(d, x + i), y + i); });
  });
}

void to_bf16(std::int64_t n, const float* x, BFloat16* y) { convert_elements(n, x, y); }
void from_bf16(std::int64_t n, const BFloat16* x, float* y) { convert_elements(n, x, y); }

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
    vector_loop(d, 0, width, [&](auto span, std::int64_t i) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (std::int64_t r = row; r < std::min(rows, row + kBlock); ++r)
        sum = hn::Add(sum, span.load(d, x + r * stride + i));
      hn::Store(sum, d, block);
      const std::int64_t count = std::min<std::int64_t>(width - i, static_cast<std::int64_t>(hn::Lanes(d)));
      vector_loop(d64, 0, count, [&](auto part, std::int64_t j) HWY_ATTR {
        const auto promoted = hn::PromoteTo(d64, hn::LoadU(half, block + j));
        part.store(d64, hn::Add(part.load(d64, sums + i + j), promoted), sums + i + j);
      });
    });
}

template <class T>
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const void* x_, void* y_) {
  const T* x = static_cast<const T*>(x_);
  float* y = static_cast<float*>(y_);
  // Strips of channels, each cut into a fixed number of row ranges so that few channels occupy several threads too.
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

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

constexpr std::int64_t kRowGrain = 65536;  // bytes per task at least

template <class T>
std::int64_t rows_per_task(std::int64_t channels) {
  return kRowGrain / std::max<std::int64_t>(1, channels * static_cast<std::int64_t>(sizeof(T))) + 1;
}

template <class T>
void copy(T* to, const T* from, std::int64_t count) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace

template <class T>
void fill(Stream, std::int64_t n, double value, void* y_) {
  T* y = static_cast<T*>(y_);
  parallel_for(n, kRowGrain, [=](std::int64_t begin, std::int64_t end) {
    std::fill(y + begin, y + end, T(static_cast<float>(value)));
  });
}

template <class T>
void add(Stream stream, std::int64_t n, const void* a, const void* b, void* y) {
  RETORT_SIMD_SELECT(add<T>)(stream, n, a, b, y);
}

template <class T>
void scale(Stream stream, std::int64_t n, double factor, const void* x, void* y) {
  RETORT_SIMD_SELECT(scale<T>)(stream, n, factor, x, y);
}

template <class T>
void relu_forward(Stream stream, std::int64_t n, const void* x, void* y) {
  RETORT_SIMD_SELECT(relu_forward<T>)(stream, n, x, y);
}

template <class T>
void relu_backward(Stream stream, std::int64_t n, const void* y, const void* dy, void* dx) {
  RETORT_SIMD_SELECT(relu_backward<T>)(stream, n, y, dy, dx);
}

void convert(Stream stream, std::int64_t n, DType from, const void* x, DType to, void* y) {
  if (from == DType::f32 && to == DType::bf16)
    RETORT_SIMD_SELECT(to_bf16)(n, static_cast<const float*>(x), static_cast<BFloat16*>(y));
  else if (from == DType::bf16 && to == DType::f32)
    RETORT_SIMD_SELECT(from_bf16)(n, static_cast<const BFloat16*>(x), static_cast<float*>(y));
  else
    reference::table<float>().elementwise.convert(stream, n, from, x, to, y);
}

template <class T>
void scale_by(Stream stream, std::int64_t n, const void* factor, const void* x, void* y) {
  const float by = *static_cast<const float*>(factor);
  if (by != 1 || x != y) scale<T>(stream, n, by, x, y);
}

std::size_t sum_rows_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

template <class T>
void sum_rows(Stream stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void*) {
  RETORT_SIMD_SELECT(sum_rows<T>)(stream, rows, channels, x, y);
}

template <class T>
void copy_channels(Stream, const ChannelCopy& c, const void* source_, void* target_) {
  const T* source = static_cast<const T*>(source_) + c.source_begin;
  T* target = static_cast<T*>(target_) + c.target_begin;
  parallel_for(c.rows, rows_per_task<T>(c.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      copy(target + row * c.target_channels, source + row * c.source_channels, c.count);
  });
}

template <class T>
void shortcut_forward(Stream, const ShortcutGeometry& g, const void* x_, void* y_) {
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
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
void shortcut_backward(Stream, const ShortcutGeometry& g, const void* dy_, void* dx_) {
  const T* dy = static_cast<const T*>(dy_);
  T* dx = static_cast<T*>(dx_);
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

#define RETORT_INSTANTIATE(T)                                                               \
  template void fill<T>(Stream, std::int64_t, double, void*);                               \
  template void add<T>(Stream, std::int64_t, const void*, const void*, void*);              \
  template void scale<T>(Stream, std::int64_t, double, const void*, void*);                 \
  template void relu_forward<T>(Stream, std::int64_t, const void*, void*);                  \
  template void relu_backward<T>(Stream, std::int64_t, const void*, const void*, void*);    \
  template void copy_channels<T>(Stream, const ChannelCopy&, const void*, void*);           \
  template void scale_by<T>(Stream, std::int64_t, const void*, const void*, void*);         \
  template void sum_rows<T>(Stream, std::int64_t, std::int64_t, const void*, void*, void*); \
  template void shortcut_forward<T>(Stream, const ShortcutGeometry&, const void*, void*);   \
  template void shortcut_backward<T>(Stream, const ShortcutGeometry&, const void*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace retort::cpu
#endif
