// The general matrix product, in f32 and in bf16 with sums in f32 (contract: kernels/gemm.h): A and B as they lie in
// memory, given to the blocked product.
#include "kernels/gemm.h"

#include <cstring>

#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/gemm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/gemm/block_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class Arithmetic, class T, class Out>
void multiply(const GemmGeometry& g, const T* a, const T* b, const float* bias, bool relu, Out* c, void* workspace) {
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
    block_gemm<Arithmetic>(product, grid[index],
                           static_cast<char*>(workspace) + thread * block_gemm_scratch_bytes<T>());
  });
}

/// For the present num_threads(); asked for again when that changes.
template <class T>
std::size_t workspace_bytes(const GemmGeometry&) {
  return num_threads() * block_gemm_scratch_bytes<T>();
}

/// c is of T, or of float if parameter_c.
template <class Arithmetic, class T>
void run(Stream, const GemmGeometry& g, const T* a, const T* b, const float* bias, bool relu, void* c,
         void* workspace) {
  if (g.parameter_c)
    multiply<Arithmetic>(g, a, b, bias, relu, static_cast<float*>(c), workspace);
  else
    multiply<Arithmetic>(g, a, b, bias, relu, static_cast<T*>(c), workspace);
}

}  // namespace

template <class Arithmetic>
GemmKernels gemm() {
  using T = typename Arithmetic::Element;
  return {.workspace_bytes = workspace_bytes<T>, .run = entry<run<Arithmetic, T>>};
}

template GemmKernels gemm<FloatArithmetic>();
template GemmKernels gemm<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template GemmKernels gemm<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
