// Products of many matrices by the blocked product (contract: kernels/matmul.h), in f32 and in bf16 with sums in f32;
// threads share matrices and tiles of them alike.
#include "kernels/matmul.h"

#include <cstring>

#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/matmul.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/gemm/block_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// For the present num_threads(); asked for again when that changes.
template <class T>
std::size_t workspace_bytes(const MatmulGeometry&) {
  return num_threads() * block_gemm_scratch_bytes<T>();
}

template <class Arithmetic, class T>
void run(Stream, const MatmulGeometry& g, const T* a, const T* b, T* c, void* workspace) {
  using LoadPanel = FunctionRef<void(const PanelBlock<T>&)>;
  const TaskGrid grid(g.m, g.n, g.outer * g.inner);
  parallel_tasks(grid.size() * g.outer * g.inner, [&](std::int64_t index, int thread) {
    const std::int64_t batch = index / grid.size();
    const auto begin = [&](const MatrixPlace& place) {
      return batch / g.inner * place.outer_step + batch % g.inner * place.inner_step;
    };
    const T* left = a + begin(g.a);
    T* out = c + begin(g.c);
    const auto copy_rows = [&](const PanelBlock<T>& block) {
      for (std::int64_t i = 0; i < block.rows; ++i)
        std::memcpy(block.panel + i * block.stride, left + (block.row + i) * g.a.row_step + block.depth,
                    block.depths * sizeof(T));
    };
    const auto copy_columns = [&](const PanelBlock<T>& block) {
      for (std::int64_t l = 0; l < block.depths; ++l)
        std::memcpy(block.panel + l * block.stride, left + (block.depth + l) * g.a.row_step + block.row,
                    block.rows * sizeof(T));
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t rows, T** addresses) {
      for (std::int64_t i = 0; i < rows; ++i) addresses[i] = out + (row + i) * g.c.row_step;
    };
    const BlockGemm<T, T> product = {
        .rows = g.m,
        .cols = g.n,
        .depth = g.k,
        .layout = g.transpose_a ? PanelLayout::depth_major : PanelLayout::row_major,
        .load_panel = g.transpose_a ? LoadPanel(copy_columns) : LoadPanel(copy_rows),
        .a = {.data = left, .stride = g.a.row_step},
        .b = {.data = b + begin(g.b), .stride = g.b.row_step, .transposed = g.transpose_b},
        .locate_rows = locate_rows,
    };
    block_gemm<Arithmetic>(product, grid[index % grid.size()],
                           static_cast<char*>(workspace) + thread * block_gemm_scratch_bytes<T>());
  });
}

}  // namespace

template <class Arithmetic>
MatmulKernels matmul() {
  using T = typename Arithmetic::Element;
  return {.workspace_bytes = workspace_bytes<T>, .run = entry<run<Arithmetic, T>>};
}

template MatmulKernels matmul<FloatArithmetic>();
template MatmulKernels matmul<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template MatmulKernels matmul<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
