#include <algorithm>

#include "kernels/cpu/conv/conv2d.h"
#include "kernels/cpu/conv/conv2d_plan.h"
#include "kernels/cpu/conv/winograd.h"
#include "kernels/cpu/conv/winograd_line.h"

namespace retort::cpu {
namespace {

/// Filters of up to this many bytes stay in a core's cache while a thread sums into them.
constexpr std::size_t kSmallFilter = 512 * 1024;

std::int64_t count_parts(const Conv2dGeometry& g) {
  const std::int64_t positions = g.n * g.p() * g.q();
  if (g.groups > 1 || filter_bytes(g) > kSmallFilter) return 1;
  return std::clamp<std::int64_t>(positions / kBlockDepth<float>, 1, num_threads());
}

}  // namespace

WgradPlan::WgradPlan(const Conv2dGeometry& g)
    : filter_bytes_(filter_bytes(g)),
      parts_(count_parts(g)),
      grid_(g.r * g.s * g.c_per_group(), g.k_per_group(), g.groups * parts_) {}

template <class T>
void conv2d_wgrad(Stream, const Conv2dGeometry& g, const void* x, const void* dy_data, void* dw_data, void* workspace) {
  if (use_winograd<T>(ConvPass::wgrad, g))
    return winograd_wgrad(g, static_cast<const T*>(x), static_cast<const T*>(dy_data), static_cast<float*>(dw_data),
                          workspace);
  if (use_winograd_line<T>(ConvPass::wgrad, g))
    return winograd_line_wgrad(g, static_cast<const T*>(x), static_cast<const T*>(dy_data),
                               static_cast<float*>(dw_data), workspace);
  const WgradPlan plan(g);
  const TaskGrid& grid = plan.grid();
  const std::int64_t positions = g.n * g.p() * g.q(), elements = g.r * g.s * g.c_per_group() * g.k;
  const auto* dy = static_cast<const T*>(dy_data);
  auto* dw = static_cast<float*>(dw_data);
  float* const partials = pass_buffer<T>(workspace);

  parallel_tasks(g.groups * plan.parts() * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t part = index / grid.size() % plan.parts(), group = index / grid.size() / plan.parts();
    const std::int64_t first = positions * part / plan.parts(), end = positions * (part + 1) / plan.parts();
    const std::int64_t first_k = group * g.k_per_group();
    float* const target = (part == 0 ? dw : partials + (part - 1) * elements) + first_k;
    const PatchGeometry<T> patches = input_patches(g, static_cast<const T*>(x), group);
    const auto load_panel = [&](const PanelBlock<T>& block) {
      gather_patches(patches, first + block.depth, block.depths, block.row, block.rows, block.panel, block.stride);
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t count, float** addresses) {
      for (std::int64_t i = 0; i < count; ++i) addresses[i] = target + (row + i) * g.k;
    };
    const BlockGemm<T, float> product = {.rows = patches.depth(),
                                         .cols = g.k_per_group(),
                                         .depth = end - first,
                                         .layout = PanelLayout::depth_major,
                                         .load_panel = load_panel,
                                         .a = stored_patches(patches, first),
                                         .b = {.data = dy + first * g.k + first_k, .stride = g.k},
                                         .locate_rows = locate_rows};
    block_gemm(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });

  if (plan.parts() == 1) return;
  parallel_for(elements, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = 1; part < plan.parts(); ++part)
      for (std::int64_t i = begin; i < end; ++i) dw[i] += partials[(part - 1) * elements + i];
  });
}

template void conv2d_wgrad<float>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);
template void conv2d_wgrad<BFloat16>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);

}  // namespace retort::cpu
