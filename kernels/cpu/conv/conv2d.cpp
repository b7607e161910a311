#include "kernels/cpu/conv/conv2d.h"

#include <algorithm>

#include "kernels/cpu/conv/conv2d_plan.h"
#include "kernels/cpu/conv/patches.h"
#include "kernels/cpu/conv/winograd.h"
#include "kernels/cpu/conv/winograd_line.h"
#include "kernels/cpu/gemm/block_gemm.h"

namespace retort::cpu {

template <class T>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  if (use_winograd<T>(pass, g)) return winograd_workspace_bytes<T>(pass, g);
  if (use_winograd_line<T>(pass, g)) return winograd_line_workspace_bytes<T>(pass, g);
  const std::size_t scratch = num_threads() * block_gemm_scratch_bytes<T>();
  switch (pass) {
    case ConvPass::fprop:
    case ConvPass::dgrad: return scratch;
    case ConvPass::wgrad: return scratch + WgradPlan(g).partial_bytes();
  }
  return 0;
}

template <class T>
void conv2d_fprop(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue,
                  void* y_data, void* workspace) {
  auto* y = static_cast<T*>(y_data);
  const Epilogue<T> typed = {static_cast<const float*>(epilogue.scale), static_cast<const float*>(epilogue.bias),
                             static_cast<const T*>(epilogue.residual), epilogue.relu};
  if (use_winograd<T>(ConvPass::fprop, g))
    return winograd_fprop(g, static_cast<const T*>(x), static_cast<const T*>(w), typed, y, workspace);
  if (use_winograd_line<T>(ConvPass::fprop, g))
    return winograd_line_fprop(g, static_cast<const T*>(x), static_cast<const T*>(w), typed, y, workspace);
  const std::int64_t rows = g.n * g.p() * g.q();
  const TaskGrid grid(rows, g.k_per_group(), g.groups);
  parallel_tasks(g.groups * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t group = index / grid.size(), first_k = group * g.k_per_group();
    const PatchGeometry<T> patches = input_patches(g, static_cast<const T*>(x), group);
    const auto load_panel = [&](const PanelBlock<T>& block) {
      gather_patches(patches, block.row, block.rows, block.depth, block.depths, block.panel, block.stride);
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t count, T** addresses) {
      for (std::int64_t i = 0; i < count; ++i) addresses[i] = y + (row + i) * g.k + first_k;
    };
    const BlockGemm<T> product = {.rows = rows,
                                  .cols = g.k_per_group(),
                                  .depth = patches.depth(),
                                  .layout = PanelLayout::row_major,
                                  .load_panel = load_panel,
                                  .a = stored_patches(patches),
                                  .b = {.data = static_cast<const T*>(w) + first_k, .stride = g.k},
                                  .locate_rows = locate_rows,
                                  .epilogue = typed.from_column(first_k),
                                  .residual_stride = g.k};
    block_gemm(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });
}

template std::size_t conv2d_workspace_bytes<float>(ConvPass, const Conv2dGeometry&);
template std::size_t conv2d_workspace_bytes<BFloat16>(ConvPass, const Conv2dGeometry&);
template void conv2d_fprop<float>(Stream, const Conv2dGeometry&, const void*, const void*, const ConvEpilogue&, void*,
                                  void*);
template void conv2d_fprop<BFloat16>(Stream, const Conv2dGeometry&, const void*, const void*, const ConvEpilogue&,
                                     void*, void*);

}  // namespace retort::cpu
