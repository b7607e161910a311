#include "kernels/cpu/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm/block_gemm.h"
#include "kernels/threads.h"

namespace retort::cpu {
namespace {

template <class T, class Out>
void run(const GemmGeometry& g, const T* a, const T* b, const float* bias, bool relu, Out* c, void* workspace) {
  const auto copy_rows = [&](const PanelBlock<T>& block) {
    for (std::int64_t i = 0; i < block.rows; ++i)
      std::memcpy(block.panel + i * block.stride, a + (block.row + i) * g.k + block.depth, block.depths * sizeof(T));
  };
  const auto copy_columns = [&](const PanelBlock<T>& block) {
    for (std::int64_t l = 0; l < block.depths; ++l)
      std::memcpy(block.panel + l * block.stride, a + (block.depth + l) * g.m + block.row, block.rows * sizeof(T));
  };
  const auto locate_rows = [&](std::int64_t row, std::int64_t rows, Out** addresses) {
    for (std::int64_t i = 0; i < rows; ++i) addresses[i] = c + (row + i) * g.n;
  };
  using LoadPanel = FunctionRef<void(const PanelBlock<T>&)>;
  const BlockGemm<T, Out> product = {
      .rows = g.m,
      .cols = g.n,
      .depth = g.k,
      .layout = g.transpose_a ? PanelLayout::depth_major : PanelLayout::row_major,
      .load_panel = g.transpose_a ? LoadPanel(copy_columns) : LoadPanel(copy_rows),
      .a = {.data = a, .stride = g.transpose_a ? g.m : g.k},
      .b = {.data = b, .stride = g.transpose_b ? g.k : g.n, .transposed = g.transpose_b},
      .locate_rows = locate_rows,
      .epilogue = {.bias = bias, .relu = relu},
  };
  const TaskGrid grid(g.m, g.n);
  parallel_tasks(grid.size(), [&](std::int64_t index, int thread) {
    block_gemm(product, grid[index], static_cast<char*>(workspace) + thread * block_gemm_scratch_bytes<T>());
  });
}

}  // namespace

template <class T>
std::size_t gemm_workspace_bytes(const GemmGeometry&) {
  return num_threads() * block_gemm_scratch_bytes<T>();
}

template <class T>
void gemm_run(Stream, const GemmGeometry& g, const void* a_, const void* b_, const void* bias_, bool relu, void* c,
              void* workspace) {
  const auto *a = static_cast<const T*>(a_), *b = static_cast<const T*>(b_);
  const auto* bias = static_cast<const float*>(bias_);
  if (g.parameter_c)
    run(g, a, b, bias, relu, static_cast<float*>(c), workspace);
  else
    run(g, a, b, bias, relu, static_cast<T*>(c), workspace);
}

template std::size_t gemm_workspace_bytes<float>(const GemmGeometry&);
template std::size_t gemm_workspace_bytes<BFloat16>(const GemmGeometry&);
template void gemm_run<float>(Stream, const GemmGeometry&, const void*, const void*, const void*, bool, void*, void*);
template void gemm_run<BFloat16>(Stream, const GemmGeometry&, const void*, const void*, const void*, bool, void*,
                                 void*);

}  // namespace retort::cpu
