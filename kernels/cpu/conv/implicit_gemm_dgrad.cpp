// The gradient of a convolution's input by implicit GEMM. With a stride it runs once per residue class of (h, w) modulo
// the stride: each class sees its own taps only, all of them at unit stride in dy, so that no product with a hole is
// computed.
#include <algorithm>
#include <numeric>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/implicit_gemm_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/implicit_gemm_dgrad.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/patches-inl.h"
#include "kernels/cpu/gemm/block_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// One axis of a residue class: the positions first, first + stride, ... of dx, and the taps that reach them.
///
/// dx[h] = sum over r of dy[(h + pad - r * dilation) / stride] * w[r], of the r for which the division is exact
///
/// Taps that fit are `tap_stride` apart. Taken from the last to the first they read dy at ascending positions, `step`
/// apart and the first of them at `offset` from the class's own index.
struct Axis {
  std::int64_t first, count;
  std::int64_t taps, last_tap, tap_stride;
  std::int64_t offset, step;
};

Axis make_axis(std::int64_t residue, std::int64_t extent, std::int64_t filter, std::int64_t stride, std::int64_t pad,
               std::int64_t dilation) {
  const std::int64_t divisor = std::gcd(stride, dilation);
  Axis axis = {.first = residue,
               .count = residue < extent ? (extent - residue + stride - 1) / stride : 0,
               .taps = 0,
               .last_tap = 0,
               .tap_stride = stride / divisor,
               .offset = 0,
               .step = dilation / divisor};
  for (std::int64_t r = 0; r < filter; ++r) {
    if ((residue + pad - r * dilation) % stride != 0) continue;
    ++axis.taps;
    axis.last_tap = r;
    axis.offset = (residue + pad - r * dilation) / stride;
  }
  return axis;
}

template <class T>
void zero_class(const Conv2dGeometry& g, const Axis& h, const Axis& w, T* dx) {
  parallel_for(g.n * h.count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      T* line = dx + ((row / h.count * g.h + h.first + row % h.count * g.stride_h) * g.w + w.first) * g.c;
      for (std::int64_t j = 0; j < w.count; ++j) std::fill_n(line + j * g.stride_w * g.c, g.c, T(0.0f));
    }
  });
}

template <class Arithmetic, class T>
void run_class(const Conv2dGeometry& g, const Axis& h, const Axis& w, const T* dy, const T* filter, T* dx,
               void* workspace) {
  const std::int64_t rows = g.n * h.count * w.count, depth = h.taps * w.taps * g.k_per_group();
  const std::int64_t tap = g.c_per_group() * g.k;  // elements of a tap's filter
  const T* const last_tap = filter + (h.last_tap * g.s + w.last_tap) * tap;
  const TaskGrid grid(rows, g.c_per_group(), g.groups);
  parallel_tasks(g.groups * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t group = index / grid.size();
    const PatchGeometry<T> patches = {.x = dy + group * g.k_per_group(),
                                      .h = g.p(),
                                      .w = g.q(),
                                      .pixel_stride = g.k,
                                      .p = h.count,
                                      .q = w.count,
                                      .stride_h = 1,
                                      .stride_w = 1,
                                      .offset_h = h.offset,
                                      .offset_w = w.offset,
                                      .taps_h = h.taps,
                                      .taps_w = w.taps,
                                      .tap_step_h = h.step,
                                      .tap_step_w = w.step,
                                      .channels = g.k_per_group()};
    const auto load_panel = [&](const PanelBlock<T>& block) {
      gather_patches(patches, block.row, block.rows, block.depth, block.depths, block.panel, block.stride);
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t count, T** addresses) {
      for (std::int64_t i = row; i < row + count; ++i) {
        const std::int64_t image = i / w.count / h.count;
        const std::int64_t y = h.first + i / w.count % h.count * g.stride_h, x = w.first + i % w.count * g.stride_w;
        *addresses++ = dx + ((image * g.h + y) * g.w + x) * g.c + group * g.c_per_group();
      }
    };
    const BlockGemm<T> product = {.rows = rows,
                                  .cols = g.c_per_group(),
                                  .depth = depth,
                                  .layout = PanelLayout::row_major,
                                  .load_panel = load_panel,
                                  .a = stored_patches(patches),
                                  .b = {.data = last_tap + group * g.k_per_group(),
                                        .stride = g.k,
                                        .transposed = true,
                                        .run_length = g.k_per_group(),
                                        .inner_runs = w.taps,
                                        .inner_step = -w.tap_stride * tap,
                                        .outer_step = -h.tap_stride * g.s * tap},
                                  .locate_rows = locate_rows};
    block_gemm<Arithmetic>(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });
}

template <class Arithmetic, class T>
void dgrad(const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void* workspace) {
  for (std::int64_t i = 0; i < g.stride_h; ++i) {
    const Axis rows = make_axis(i, g.h, g.r, g.stride_h, g.pad_h, g.dilation_h);
    for (std::int64_t j = 0; j < g.stride_w; ++j) {
      const Axis columns = make_axis(j, g.w, g.s, g.stride_w, g.pad_w, g.dilation_w);
      if (rows.count == 0 || columns.count == 0) continue;
      if (rows.taps == 0 || columns.taps == 0)
        zero_class(g, rows, columns, dx);
      else
        run_class<Arithmetic>(g, rows, columns, dy, w, dx, workspace);
    }
  }
}

}  // namespace

template <class Arithmetic>
DgradPass<typename Arithmetic::Element> implicit_gemm_dgrad() {
  return dgrad<Arithmetic, typename Arithmetic::Element>;
}

template DgradPass<float> implicit_gemm_dgrad<FloatArithmetic>();
template DgradPass<BFloat16> implicit_gemm_dgrad<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template DgradPass<BFloat16> implicit_gemm_dgrad<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
