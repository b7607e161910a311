#include "kernels/cpu/pool.h"

#include <algorithm>

#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#ifndef RETORT_KERNELS_CPU_POOL_SHARED_
#define RETORT_KERNELS_CPU_POOL_SHARED_
namespace retort::cpu {

/// [begin, end)
struct Span {
  std::int64_t begin, end;
};

/// One axis of a pooling: which inputs an output covers, and which outputs cover an input.
struct PoolAxis {
  std::int64_t in, out;
  std::int64_t kernel = 0, stride = 0, pad = 0;
  bool adaptive = false, count_include_pad = false;

  Span inputs(std::int64_t o) const {
    if (adaptive) return {o * in / out, ((o + 1) * in + out - 1) / out};
    const std::int64_t begin = o * stride - pad;
    return {std::max<std::int64_t>(begin, 0), std::min(begin + kernel, in)};
  }
  /// This axis's factor of what a sum is divided by.
  std::int64_t count(std::int64_t o) const {
    const Span real = inputs(o);
    if (!count_include_pad) return real.end - real.begin;
    const std::int64_t begin = o * stride - pad;
    return std::min(begin + kernel, in + pad) - begin;
  }
  Span outputs(std::int64_t i) const {
    if (adaptive) return {i * out / in, ((i + 1) * out + in - 1) / in};
    const std::int64_t before = i + pad - kernel;  // the last position whose window ends at or before i
    return {before < 0 ? 0 : before / stride + 1, std::min((i + pad) / stride + 1, out)};
  }
};

struct PoolPlane {
  std::int64_t n, c;
  PoolAxis rows, columns;
};

}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using F32 = hn::ScalableTag<float>;
using I32 = hn::ScalableTag<std::int32_t>;
constexpr std::int64_t kStrip = 64;       // channels
constexpr std::int64_t kMostSums = 1024;  // channels

/// Runs body(n, row, channel_begin, channel_end) for `rows` rows of each of plane.n images; few rows are cut by
/// channels too.
template <class Body>
void for_rows(const PoolPlane& plane, std::int64_t rows, const Body& body) {
  const std::int64_t strips = (plane.c + kStrip - 1) / kStrip, images_rows = plane.n * rows;
  const std::int64_t parts =
      std::clamp<std::int64_t>(4 * num_threads() / std::max<std::int64_t>(1, images_rows), 1, strips);
  parallel_for(images_rows * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / parts, part = task % parts;
      body(row / rows, row % rows, strips * part / parts * kStrip,
           std::min(plane.c, strips * (part + 1) / parts * kStrip));
    }
  });
}

template <class T>
void max_forward(const PoolPlane& plane, const T* x, T* y, std::int32_t* index) {
  const PoolAxis &rows = plane.rows, &columns = plane.columns;
  for_rows(plane, rows.out, [&](std::int64_t n, std::int64_t p, std::int64_t first, std::int64_t last) HWY_ATTR {
    const F32 d;
    const I32 di;
    const T* image = x + n * rows.in * columns.in * plane.c;
    const Span i_span = rows.inputs(p);
    for (std::int64_t q = 0; q < columns.out; ++q) {
      const Span j_span = columns.inputs(q);
      const std::int64_t out = ((n * rows.out + p) * columns.out + q) * plane.c;
      vector_loop(d, first, last, [&](auto span, std::int64_t c) HWY_ATTR {
        std::int64_t pixel = i_span.begin * columns.in + j_span.begin;
        auto largest = span.load(d, image + pixel * plane.c + c);
        auto at = hn::Set(di, static_cast<std::int32_t>(pixel));
        for (std::int64_t i = i_span.begin; i < i_span.end; ++i)
          for (std::int64_t j = j_span.begin; j < j_span.end; ++j) {
            pixel = i * columns.in + j;
            const auto value = span.load(d, image + pixel * plane.c + c);
            // Not (value <= largest): value is larger, or one of them is NaN; the first NaN stays.
            const auto better = hn::And(hn::Not(hn::Le(value, largest)), hn::Eq(largest, largest));
            largest = hn::IfThenElse(better, value, largest);
            at = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<std::int32_t>(pixel)), at);
          }
        span.store(d, largest, y + out + c);
        if (index) span.store(di, at, index + out + c);
      });
    }
  });
}

template <class T>
void max_backward(const PoolPlane& plane, const T* dy, const std::int32_t* index, T* dx) {
  const PoolAxis &rows = plane.rows, &columns = plane.columns;
  for_rows(plane, rows.in, [&](std::int64_t n, std::int64_t i, std::int64_t first, std::int64_t last) HWY_ATTR {
    const F32 d;
    const I32 di;
    const Span p_span = rows.outputs(i);
    for (std::int64_t j = 0; j < columns.in; ++j) {
      const Span q_span = columns.outputs(j);
      const std::int64_t pixel = i * columns.in + j;
      const auto wanted = hn::Set(di, static_cast<std::int32_t>(pixel));
      vector_loop(d, first, last, [&](auto span, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::int64_t p = p_span.begin; p < p_span.end; ++p)
          for (std::int64_t q = q_span.begin; q < q_span.end; ++q) {
            const std::int64_t out = ((n * rows.out + p) * columns.out + q) * plane.c + c;
            const auto chosen = hn::RebindMask(d, hn::Eq(span.load(di, index + out), wanted));
            sum = hn::Add(sum, hn::IfThenElseZero(chosen, span.load(d, dy + out)));
          }
        span.store(d, sum, dx + (n * rows.in * columns.in + pixel) * plane.c + c);
      });
    }
  });
}

template <class T>
void average_forward(const PoolPlane& plane, const T* x, T* y) {
  const PoolAxis &rows = plane.rows, &columns = plane.columns;
  for_rows(plane, rows.out, [&](std::int64_t n, std::int64_t p, std::int64_t first, std::int64_t last) HWY_ATTR {
    const F32 d;
    const T* image = x + n * rows.in * columns.in * plane.c;
    const Span i_span = rows.inputs(p);
    for (std::int64_t q = 0; q < columns.out; ++q) {
      const Span j_span = columns.inputs(q);
      const auto divisor = hn::Set(d, static_cast<float>(rows.count(p) * columns.count(q)));
      vector_loop(d, first, last, [&](auto span, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::int64_t i = i_span.begin; i < i_span.end; ++i) {
          auto row = hn::Zero(d);  // rows first: rounding grows with the window's height + width, not their product
          for (std::int64_t j = j_span.begin; j < j_span.end; ++j)
            row = hn::Add(row, span.load(d, image + (i * columns.in + j) * plane.c + c));
          sum = hn::Add(sum, row);
        }
        span.store(d, hn::Div(sum, divisor), y + ((n * rows.out + p) * columns.out + q) * plane.c + c);
      });
    }
  });
}

template <class T>
void average_backward(const PoolPlane& plane, const T* dy, T* dx) {
  const PoolAxis &rows = plane.rows, &columns = plane.columns;
  for_rows(plane, rows.in, [&](std::int64_t n, std::int64_t i, std::int64_t first, std::int64_t last) HWY_ATTR {
    const F32 d;
    const Span p_span = rows.outputs(i);
    for (std::int64_t j = 0; j < columns.in; ++j) {
      const Span q_span = columns.outputs(j);
      T* pixel = dx + ((n * rows.in + i) * columns.in + j) * plane.c;
      for (std::int64_t strip = first; strip < last; strip += kMostSums) {
        const std::int64_t width = std::min(kMostSums, last - strip);
        HWY_ALIGN float sums[kMostSums];  // they stay in L1 while the windows add to them
        std::fill_n(sums, width, 0.0f);
        for (std::int64_t p = p_span.begin; p < p_span.end; ++p)
          for (std::int64_t q = q_span.begin; q < q_span.end; ++q) {
            const auto share = hn::Set(d, 1 / static_cast<float>(rows.count(p) * columns.count(q)));
            const T* gradient = dy + ((n * rows.out + p) * columns.out + q) * plane.c + strip;
            vector_loop(d, 0, width, [&](auto span, std::int64_t c) HWY_ATTR {
              span.store(d, hn::MulAdd(span.load(d, gradient + c), share, span.load(d, sums + c)), sums + c);
            });
          }
        vector_loop(d, 0, width, [&](auto span, std::int64_t c) HWY_ATTR {
          span.store(d, span.load(d, sums + c), pixel + strip + c);
        });
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

PoolPlane plane(const Pool2dGeometry& g) {
  return {g.n,
          g.c,
          {g.h, g.p(), g.kernel_h, g.stride_h, g.pad_h, false, g.count_include_pad},
          {g.w, g.q(), g.kernel_w, g.stride_w, g.pad_w, false, g.count_include_pad}};
}

PoolPlane plane(const AdaptivePoolGeometry& g) {
  return {g.n, g.c, {.in = g.h, .out = g.p, .adaptive = true}, {.in = g.w, .out = g.q, .adaptive = true}};
}

}  // namespace

template <class T>
void max_pool_forward(Stream, const Pool2dGeometry& g, const void* x, void* y, std::int32_t* index) {
  RETORT_SIMD_SELECT(max_forward<T>)(plane(g), static_cast<const T*>(x), static_cast<T*>(y), index);
}

template <class T>
void max_pool_backward(Stream, const Pool2dGeometry& g, const void* dy, const std::int32_t* index, void* dx) {
  RETORT_SIMD_SELECT(max_backward<T>)(plane(g), static_cast<const T*>(dy), index, static_cast<T*>(dx));
}

template <class T>
void average_pool_forward(Stream, const Pool2dGeometry& g, const void* x, void* y) {
  RETORT_SIMD_SELECT(average_forward<T>)(plane(g), static_cast<const T*>(x), static_cast<T*>(y));
}

template <class T>
void average_pool_backward(Stream, const Pool2dGeometry& g, const void* dy, void* dx) {
  RETORT_SIMD_SELECT(average_backward<T>)(plane(g), static_cast<const T*>(dy), static_cast<T*>(dx));
}

template <class T>
void adaptive_pool_forward(Stream, const AdaptivePoolGeometry& g, const void* x, void* y) {
  RETORT_SIMD_SELECT(average_forward<T>)(plane(g), static_cast<const T*>(x), static_cast<T*>(y));
}

template <class T>
void adaptive_pool_backward(Stream, const AdaptivePoolGeometry& g, const void* dy, void* dx) {
  RETORT_SIMD_SELECT(average_backward<T>)(plane(g), static_cast<const T*>(dy), static_cast<T*>(dx));
}

#define RETORT_INSTANTIATE(T)                                                                                 \
  template void max_pool_forward<T>(Stream, const Pool2dGeometry&, const void*, void*, std::int32_t*);        \
  template void max_pool_backward<T>(Stream, const Pool2dGeometry&, const void*, const std::int32_t*, void*); \
  template void average_pool_forward<T>(Stream, const Pool2dGeometry&, const void*, void*);                   \
  template void average_pool_backward<T>(Stream, const Pool2dGeometry&, const void*, void*);                  \
  template void adaptive_pool_forward<T>(Stream, const AdaptivePoolGeometry&, const void*, void*);            \
  template void adaptive_pool_backward<T>(Stream, const AdaptivePoolGeometry&, const void*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace retort::cpu
#endif
