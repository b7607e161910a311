#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/block_gemm.h"
#include "kernels/table.h"

namespace retort::cpu {

std::size_t gemm_workspace_bytes(const GemmGeometry&) { return num_threads() * block_gemm_scratch_bytes(); }

void gemm_run(Stream, const GemmGeometry& g, const void* a_data, const void* b_data, const void* bias, bool relu,
              void* c_data, void* workspace) {
  const auto* a = static_cast<const float*>(a_data);
  auto* c = static_cast<float*>(c_data);
  const auto copy_rows = [&](const PanelBlock& block) {
    for (std::int64_t i = 0; i < block.rows; ++i)
      std::memcpy(block.panel + i * block.stride, a + (block.row + i) * g.k + block.depth,
                  block.depths * sizeof(float));
  };
  const auto copy_columns = [&](const PanelBlock& block) {
    for (std::int64_t l = 0; l < block.depths; ++l)
      std::memcpy(block.panel + l * block.stride, a + (block.depth + l) * g.m + block.row, block.rows * sizeof(float));
  };
  const auto locate_rows = [&](std::int64_t row, std::int64_t rows, float** addresses) {
    for (std::int64_t i = 0; i < rows; ++i) addresses[i] = c + (row + i) * g.n;
  };
  using LoadPanel = FunctionRef<void(const PanelBlock&)>;
  const BlockGemm product = {
      .rows = g.m,
      .cols = g.n,
      .depth = g.k,
      .layout = g.transpose_a ? PanelLayout::depth_major : PanelLayout::row_major,
      .load_panel = g.transpose_a ? LoadPanel(copy_columns) : LoadPanel(copy_rows),
      .b = {.data = static_cast<const float*>(b_data),
            .stride = g.transpose_b ? g.k : g.n,
            .transposed = g.transpose_b},
      .locate_rows = locate_rows,
      .bias = static_cast<const float*>(bias),
      .relu = relu,
  };
  const TaskGrid grid(g.m, g.n);
  parallel_tasks(grid.size(), [&](std::int64_t index, int thread) {
    block_gemm(product, grid[index], static_cast<char*>(workspace) + thread * block_gemm_scratch_bytes());
  });
}

}  // namespace retort::cpu
