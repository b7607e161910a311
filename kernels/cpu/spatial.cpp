// Windows and factors with vectors and threads (contract: kernels/spatial.h). T: float or BFloat16; arithmetic is in
// float.
#include "kernels/spatial.h"

#include <algorithm>
#include <cstring>

#include "kernels/bfloat16.h"
#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/spatial.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;

constexpr std::int64_t kGrain = 16384;  // elements a thread takes at least

std::int64_t rows_per_task(std::int64_t elements) { return kGrain / std::max<std::int64_t>(1, elements) + 1; }

template <class T>
void window(Stream, const WindowGeometry& g, const T* x, T* y) {
  const T fill = T(static_cast<float>(g.fill));
  // Columns [first, last) of an output row lie inside the input.
  const std::int64_t first = std::clamp<std::int64_t>(g.left, 0, g.q),
                     last = std::clamp<std::int64_t>(g.left + g.w, first, g.q);
  parallel_for(g.n * g.p, rows_per_task(g.q * g.c), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      T* to = y + row * g.q * g.c;
      const std::int64_t n = row / g.p, from = row % g.p - g.top;
      if (from < 0 || from >= g.h) {
        std::fill(to, to + g.q * g.c, fill);
        continue;
      }
      std::fill(to, to + first * g.c, fill);
      if (last > first)
        std::memcpy(to + first * g.c, x + ((n * g.h + from) * g.w + first - g.left) * g.c,
                    static_cast<std::size_t>((last - first) * g.c) * sizeof(T));
      std::fill(to + last * g.c, to + g.q * g.c, fill);
    }
  });
}

/// y = f(x, s), s one a channel of each image.
template <class T, class F>
void with_factors(const FactorGeometry& g, const T* x, const T* s, T* y, const F& f) {
  parallel_for(g.n * g.pixels, rows_per_task(g.channels), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * g.channels;
      const T* factors = s + row / g.pixels * g.channels;
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        lanes.store(d, f(lanes.load(d, x + at + c), lanes.load(d, factors + c)), y + at + c);
      });
    }
  });
}

template <class T>
void multiply(Stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  with_factors(g, x, s, y, [](auto a, auto b) HWY_ATTR { return hn::Mul(a, b); });
}

template <class T>
void add(Stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  with_factors(g, x, s, y, [](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
}

/// Each sum of a channel is added by one thread, in blocks of 64 pixels in float, the blocks in double.
template <class T>
void multiply_sum(Stream, const FactorGeometry& g, const T* a, const T* b, T* y) {
  constexpr std::int64_t kStrip = 64, kBlock = 64;
  const std::int64_t strips = (g.channels + kStrip - 1) / kStrip;
  parallel_for(g.n * strips, rows_per_task(g.pixels * kStrip), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t n = task / strips, first = task % strips * kStrip,
                         width = std::min(kStrip, g.channels - first);
      double sums[kStrip] = {};
      HWY_ALIGN float block[kStrip];
      for (std::int64_t pixel = 0; pixel < g.pixels; pixel += kBlock) {
        const std::int64_t until = std::min(g.pixels, pixel + kBlock);
        vector_loop(d, 0, width, [&](auto lanes, std::int64_t c) HWY_ATTR {
          auto sum = hn::Zero(d);
          for (std::int64_t i = pixel; i < until; ++i) {
            const std::int64_t at = (n * g.pixels + i) * g.channels + first + c;
            sum = hn::MulAdd(lanes.load(d, a + at), lanes.load(d, b + at), sum);
          }
          lanes.store(d, sum, block + c);
        });
        for (std::int64_t c = 0; c < width; ++c) sums[c] += block[c];
      }
      for (std::int64_t c = 0; c < width; ++c) y[n * g.channels + first + c] = T(static_cast<float>(sums[c]));
    }
  });
}

}  // namespace

template <class T>
SpatialKernels spatial() {
  return {.window = entry<window<T>>,
          .multiply = entry<multiply<T>>,
          .add = entry<add<T>>,
          .multiply_sum = entry<multiply_sum<T>>};
}

template SpatialKernels spatial<float>();
template SpatialKernels spatial<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
