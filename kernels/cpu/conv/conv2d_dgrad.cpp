#include <algorithm>
#include <numeric>

#include "kernels/cpu/conv/conv2d.h"
#include "kernels/cpu/conv/conv2d_plan.h"
#include "kernels/cpu/conv/winograd.h"
#include "kernels/cpu/conv/winograd_line.h"

namespace retort::cpu {
namespace {

/// One axis of a residue class: the positions first, first + stride, ... of dx, and the taps that reach them.
///
///   dx[h] = sum over r of dy[(h + pad - r * dilation) / stride] * w[r], where the division leaves no rest
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

template <class T>
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
    block_gemm(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });
}

}  // namespace

template <class T>
void conv2d_dgrad(Stream, const Conv2dGeometry& g, const void* dy, const void* w_data, void* dx_data, void* workspace) {
  auto* dx = static_cast<T*>(dx_data);
  if (use_winograd<T>(ConvPass::dgrad, g))
    return winograd_dgrad(g, static_cast<const T*>(dy), static_cast<const T*>(w_data), dx, workspace);
  if (use_winograd_line<T>(ConvPass::dgrad, g))
    return winograd_line_dgrad(g, static_cast<const T*>(dy), static_cast<const T*>(w_data), dx, workspace);
  for (std::int64_t i = 0; i < g.stride_h; ++i) {
    const Axis h = make_axis(i, g.h, g.r, g.stride_h, g.pad_h, g.dilation_h);
    for (std::int64_t j = 0; j < g.stride_w; ++j) {
      const Axis w = make_axis(j, g.w, g.s, g.stride_w, g.pad_w, g.dilation_w);
      if (h.count == 0 || w.count == 0) continue;
      if (h.taps == 0 || w.taps == 0)
        zero_class(g, h, w, dx);
      else
        run_class(g, h, w, static_cast<const T*>(dy), static_cast<const T*>(w_data), dx, workspace);
    }
  }
}

template void conv2d_dgrad<float>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);
template void conv2d_dgrad<BFloat16>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);

}  // namespace retort::cpu
