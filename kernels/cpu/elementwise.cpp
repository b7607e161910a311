#include "kernels/cpu/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using F32 = hn::ScalableTag<float>;

// Elements per task at least: below this, handing work to a thread costs more than it saves.
constexpr std::int64_t kGrain = 16384;

void add(Stream, std::int64_t n, const void* a_, const void* b_, void* y_) {
  const float* a = static_cast<const float*>(a_);
  const float* b = static_cast<const float*>(b_);
  float* y = static_cast<float*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto span, std::int64_t i) HWY_ATTR {
      span.store(d, hn::Add(span.load(d, a + i), span.load(d, b + i)), y + i);
    });
  });
}

void scale(Stream, std::int64_t n, double factor, const void* x_, void* y_) {
  const float* x = static_cast<const float*>(x_);
  float* y = static_cast<float*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    const auto by = hn::Set(d, static_cast<float>(factor));
    vector_loop(d, begin, end,
                [=](auto span, std::int64_t i) HWY_ATTR { span.store(d, hn::Mul(by, span.load(d, x + i)), y + i); });
  });
}

void relu_forward(Stream, std::int64_t n, const void* x_, void* y_) {
  const float* x = static_cast<const float*>(x_);
  float* y = static_cast<float*>(y_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end,
                [=](auto span, std::int64_t i) HWY_ATTR { span.store(d, relu(d, span.load(d, x + i)), y + i); });
  });
}

void relu_backward(Stream, std::int64_t n, const void* y_, const void* dy_, void* dx_) {
  const float* y = static_cast<const float*>(y_);
  const float* dy = static_cast<const float*>(dy_);
  float* dx = static_cast<float*>(dx_);
  parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    vector_loop(d, begin, end, [=](auto span, std::int64_t i) HWY_ATTR {
      const auto passes = hn::Gt(span.load(d, y + i), hn::Zero(d));
      span.store(d, hn::IfThenElseZero(passes, span.load(d, dy + i)), dx + i);
    });
  });
}

/// sums[0, width) = sums of columns of x [rows, stride], blocks of 64 rows in float, the blocks in double.
void add_rows(std::int64_t rows, std::int64_t stride, std::int64_t width, const float* x, double* sums) {
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

void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const void* x_, void* y_) {
  const float* x = static_cast<const float*>(x_);
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

std::int64_t rows_per_task(std::int64_t channels) {
  return kRowGrain / std::max<std::int64_t>(1, channels * static_cast<std::int64_t>(sizeof(float))) + 1;
}

void copy(float* to, const float* from, std::int64_t count) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace

void fill(Stream, std::int64_t n, double value, void* y_) {
  float* y = static_cast<float*>(y_);
  parallel_for(n, kRowGrain,
               [=](std::int64_t begin, std::int64_t end) { std::fill(y + begin, y + end, static_cast<float>(value)); });
}

void add(Stream stream, std::int64_t n, const void* a, const void* b, void* y) {
  RETORT_SIMD_SELECT(add)(stream, n, a, b, y);
}

void scale(Stream stream, std::int64_t n, double factor, const void* x, void* y) {
  RETORT_SIMD_SELECT(scale)(stream, n, factor, x, y);
}

void relu_forward(Stream stream, std::int64_t n, const void* x, void* y) {
  RETORT_SIMD_SELECT(relu_forward)(stream, n, x, y);
}

void relu_backward(Stream stream, std::int64_t n, const void* y, const void* dy, void* dx) {
  RETORT_SIMD_SELECT(relu_backward)(stream, n, y, dy, dx);
}

void scale_by(Stream stream, std::int64_t n, const void* factor, const void* x, void* y) {
  const float by = *static_cast<const float*>(factor);
  if (by != 1 || x != y) scale(stream, n, by, x, y);
}

std::size_t sum_rows_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

void sum_rows(Stream stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void*) {
  RETORT_SIMD_SELECT(sum_rows)(stream, rows, channels, x, y);
}

void copy_channels(Stream, const ChannelCopy& c, const void* source_, void* target_) {
  const float* source = static_cast<const float*>(source_) + c.source_begin;
  float* target = static_cast<float*>(target_) + c.target_begin;
  parallel_for(c.rows, rows_per_task(c.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      copy(target + row * c.target_channels, source + row * c.source_channels, c.count);
  });
}

void shortcut_forward(Stream, const ShortcutGeometry& g, const void* x_, void* y_) {
  const float* x = static_cast<const float*>(x_);
  float* y = static_cast<float*>(y_);
  const std::int64_t rows = g.p(), columns = g.q(), before = g.before();
  parallel_for(g.n * rows, rows_per_task(columns * g.k), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t q = 0; q < columns; ++q) {
        const std::int64_t n = row / rows, p = row % rows;
        float* pixel = y + (row * columns + q) * g.k;
        std::fill(pixel, pixel + before, 0.0f);
        copy(pixel + before, x + ((n * g.h + p * g.stride) * g.w + q * g.stride) * g.c, g.c);
        std::fill(pixel + before + g.c, pixel + g.k, 0.0f);
      }
  });
}

void shortcut_backward(Stream, const ShortcutGeometry& g, const void* dy_, void* dx_) {
  const float* dy = static_cast<const float*>(dy_);
  float* dx = static_cast<float*>(dx_);
  const std::int64_t rows = g.p(), columns = g.q(), before = g.before();
  parallel_for(g.n * g.h, rows_per_task(g.w * g.c), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t j = 0; j < g.w; ++j) {
        const std::int64_t n = row / g.h, i = row % g.h;
        float* pixel = dx + (row * g.w + j) * g.c;
        if (i % g.stride == 0 && j % g.stride == 0)
          copy(pixel, dy + ((n * rows + i / g.stride) * columns + j / g.stride) * g.k + before, g.c);
        else
          std::fill(pixel, pixel + g.c, 0.0f);
      }
  });
}

}  // namespace retort::cpu
#endif
