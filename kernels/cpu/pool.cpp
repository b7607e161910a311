// Pooling, vectorised over channels (contract: kernels/pool.h). T: float or BFloat16. The backward kernels gather: an
// input element asks the outputs whose windows cover it, so that nothing is zeroed first and no two tasks write one
// element.
#include "kernels/pool.h"

#include <algorithm>

#include "kernels/bfloat16.h"
#include "kernels/cpu/range.h"
#include "kernels/entry.h"
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
namespace {

/// One axis of a pooling: which inputs an output covers, and which outputs cover an input.
struct PoolAxis {
  std::int64_t in, out;
  std::int64_t kernel = 0, stride = 0, pad = 0;
  bool adaptive = false, count_include_pad = false;

  Range inputs(std::int64_t o) const {
    if (adaptive) return {o * in / out, ((o + 1) * in + out - 1) / out};
    const std::int64_t begin = o * stride - pad;
    return {std::max<std::int64_t>(begin, 0), std::min(begin + kernel, in)};
  }
  /// This axis's factor of what a sum is divided by.
  std::int64_t count(std::int64_t o) const {
    if (!count_include_pad) return inputs(o).size();
    const std::int64_t begin = o * stride - pad;
    return std::min(begin + kernel, in + pad) - begin;
  }
  Range outputs(std::int64_t i) const {
    if (adaptive) return {i * out / in, ((i + 1) * out + in - 1) / in};
    const std::int64_t before = i + pad - kernel;  // the last position whose window ends at or before i
    return {before < 0 ? 0 : before / stride + 1, std::min((i + pad) / stride + 1, out)};
  }
};

/// The images [n, ., ., c] and both axes.
struct PoolPlane {
  std::int64_t n, c;
  PoolAxis rows, columns;
};

PoolPlane plane_of(const Pool2dGeometry& g) {
  return {.n = g.n,
          .c = g.c,
          .rows = {.in = g.h,
                   .out = g.p(),
                   .kernel = g.kernel_h,
                   .stride = g.stride_h,
                   .pad = g.pad_h,
                   .count_include_pad = g.count_include_pad},
          .columns = {.in = g.w,
                      .out = g.q(),
                      .kernel = g.kernel_w,
                      .stride = g.stride_w,
                      .pad = g.pad_w,
                      .count_include_pad = g.count_include_pad}};
}

PoolPlane plane_of(const AdaptivePoolGeometry& g) {
  return {.n = g.n,
          .c = g.c,
          .rows = {.in = g.h, .out = g.p, .adaptive = true},
          .columns = {.in = g.w, .out = g.q, .adaptive = true}};
}

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
using I32 = hn::ScalableTag<std::int32_t>;
constexpr std::int64_t kStrip = 64;      // channels
constexpr std::int64_t kMaxSums = 1024;  // channels

/// Runs body(n, row, channel_begin, channel_end) for `rows` rows of each of plane.n images; few rows are cut by
/// channels too.
template <class Body>
void for_rows(const PoolPlane& plane, std::int64_t rows, const Body& body) {
  const std::int64_t strips = divide_up(plane.c, kStrip), images_rows = plane.n * rows;
  const std::int64_t shares =
      std::clamp<std::int64_t>(4 * num_threads() / std::max<std::int64_t>(1, images_rows), 1, strips);
  parallel_for(images_rows * shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / shares;
      const Range of_channels = share_of(strips, shares, task % shares);
      body(row / rows, row % rows, of_channels.begin * kStrip, std::min(plane.c, of_channels.end * kStrip));
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
    const Range of_i = rows.inputs(p);
    for (std::int64_t q = 0; q < columns.out; ++q) {
      const Range of_j = columns.inputs(q);
      const std::int64_t out = ((n * rows.out + p) * columns.out + q) * plane.c;
      vector_loop(d, first, last, [&](auto lanes, std::int64_t c) HWY_ATTR {
        std::int64_t pixel = of_i.begin * columns.in + of_j.begin;
        auto largest = lanes.load(d, image + pixel * plane.c + c);
        auto at = hn::Set(di, static_cast<std::int32_t>(pixel));
        for (std::int64_t i = of_i.begin; i < of_i.end; ++i)
          for (std::int64_t j = of_j.begin; j < of_j.end; ++j) {
            pixel = i * columns.in + j;
            const auto value = lanes.load(d, image + pixel * plane.c + c);
            // Not (value <= largest): value is larger, or one of them is NaN; the first NaN stays.
            const auto better = hn::And(hn::Not(hn::Le(value, largest)), hn::Eq(largest, largest));
            largest = hn::IfThenElse(better, value, largest);
            at = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<std::int32_t>(pixel)), at);
          }
        lanes.store(d, largest, y + out + c);
        if (index) lanes.store(di, at, index + out + c);
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
    const Range of_p = rows.outputs(i);
    for (std::int64_t j = 0; j < columns.in; ++j) {
      const Range of_q = columns.outputs(j);
      const std::int64_t pixel = i * columns.in + j;
      const auto wanted = hn::Set(di, static_cast<std::int32_t>(pixel));
      vector_loop(d, first, last, [&](auto lanes, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::int64_t p = of_p.begin; p < of_p.end; ++p)
          for (std::int64_t q = of_q.begin; q < of_q.end; ++q) {
            const std::int64_t out = ((n * rows.out + p) * columns.out + q) * plane.c + c;
            const auto chosen = hn::RebindMask(d, hn::Eq(lanes.load(di, index + out), wanted));
            sum = hn::Add(sum, hn::IfThenElseZero(chosen, lanes.load(d, dy + out)));
          }
        lanes.store(d, sum, dx + (n * rows.in * columns.in + pixel) * plane.c + c);
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
    const Range of_i = rows.inputs(p);
    for (std::int64_t q = 0; q < columns.out; ++q) {
      const Range of_j = columns.inputs(q);
      const auto divisor = hn::Set(d, static_cast<float>(rows.count(p) * columns.count(q)));
      vector_loop(d, first, last, [&](auto lanes, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::int64_t i = of_i.begin; i < of_i.end; ++i) {
          auto row = hn::Zero(d);  // rows first: rounding grows with the window's height + width, not their product
          for (std::int64_t j = of_j.begin; j < of_j.end; ++j)
            row = hn::Add(row, lanes.load(d, image + (i * columns.in + j) * plane.c + c));
          sum = hn::Add(sum, row);
        }
        lanes.store(d, hn::Div(sum, divisor), y + ((n * rows.out + p) * columns.out + q) * plane.c + c);
      });
    }
  });
}

template <class T>
void average_backward(const PoolPlane& plane, const T* dy, T* dx) {
  const PoolAxis &rows = plane.rows, &columns = plane.columns;
  for_rows(plane, rows.in, [&](std::int64_t n, std::int64_t i, std::int64_t first, std::int64_t last) HWY_ATTR {
    const F32 d;
    const Range of_p = rows.outputs(i);
    for (std::int64_t j = 0; j < columns.in; ++j) {
      const Range of_q = columns.outputs(j);
      T* pixel = dx + ((n * rows.in + i) * columns.in + j) * plane.c;
      for (std::int64_t strip = first; strip < last; strip += kMaxSums) {
        const std::int64_t width = std::min(kMaxSums, last - strip);
        HWY_ALIGN float sums[kMaxSums];  // they stay in L1 while the windows add to them
        std::fill_n(sums, width, 0.0f);
        for (std::int64_t p = of_p.begin; p < of_p.end; ++p)
          for (std::int64_t q = of_q.begin; q < of_q.end; ++q) {
            const auto share = hn::Set(d, 1 / static_cast<float>(rows.count(p) * columns.count(q)));
            const T* gradient = dy + ((n * rows.out + p) * columns.out + q) * plane.c + strip;
            vector_loop(d, 0, width, [&](auto lanes, std::int64_t c) HWY_ATTR {
              lanes.store(d, hn::MulAdd(lanes.load(d, gradient + c), share, lanes.load(d, sums + c)), sums + c);
            });
          }
        vector_loop(d, 0, width, [&](auto lanes, std::int64_t c) HWY_ATTR {
          lanes.store(d, lanes.load(d, sums + c), pixel + strip + c);
        });
      }
    }
  });
}

// ------------------------------------------------------------------------------------------------- entries

template <class T>
void max_pool_forward(Stream, const Pool2dGeometry& g, const T* x, T* y, std::int32_t* index) {
  max_forward(plane_of(g), x, y, index);
}

template <class T>
void max_pool_backward(Stream, const Pool2dGeometry& g, const T* dy, const std::int32_t* index, T* dx) {
  max_backward(plane_of(g), dy, index, dx);
}

template <class T, class Geometry>
void average_pool_forward(Stream, const Geometry& g, const T* x, T* y) {
  average_forward(plane_of(g), x, y);
}

template <class T, class Geometry>
void average_pool_backward(Stream, const Geometry& g, const T* dy, T* dx) {
  average_backward(plane_of(g), dy, dx);
}

}  // namespace

template <class T>
PoolKernels pool() {
  return {.max_forward = entry<max_pool_forward<T>>,
          .max_backward = entry<max_pool_backward<T>>,
          .average_forward = entry<average_pool_forward<T, Pool2dGeometry>>,
          .average_backward = entry<average_pool_backward<T, Pool2dGeometry>>,
          .adaptive_forward = entry<average_pool_forward<T, AdaptivePoolGeometry>>,
          .adaptive_backward = entry<average_pool_backward<T, AdaptivePoolGeometry>>};
}

template PoolKernels pool<float>();
template PoolKernels pool<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
