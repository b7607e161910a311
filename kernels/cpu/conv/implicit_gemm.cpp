// Convolution as a matrix product whose A is gathered from the image as it is read: implicit GEMM, in f32 and in bf16
// with sums in f32. It serves every geometry.
//
//            rows             cols   depth      A                                   B
//   fprop    (n, p, q)        k      (r, s, c)  patches of x                        w
//   dgrad    (n, h, w)        c      (r, s, k)  patches of dy                       w, c and k exchanged
//   wgrad    (r, s, c)        k      (n, p, q)  patches of x, transposed            dy
//
// dgrad with a stride runs once per residue class of (h, w) modulo the stride: each class sees its own taps only, all
// of them at unit stride in dy, so that no product with a hole is computed.
#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/implicit_gemm_plan.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/implicit_gemm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/patches-inl.h"
#include "kernels/cpu/gemm/block_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// In files of their own.
template <class Arithmetic>
DgradPass<typename Arithmetic::Element> implicit_gemm_dgrad();
template <class Arithmetic>
WgradPass<typename Arithmetic::Element> implicit_gemm_wgrad();

namespace {

bool serves(ConvPass, const Conv2dGeometry&) { return true; }

template <class T>
std::size_t workspace_bytes(ConvPass pass, const Conv2dGeometry& g) {
  const std::size_t scratch = num_threads() * block_gemm_scratch_bytes<T>();
  return pass == ConvPass::wgrad ? scratch + WgradPlan(g).partial_bytes() : scratch;
}

template <class Arithmetic, class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void* workspace) {
  const std::int64_t rows = g.n * g.p() * g.q();
  const TaskGrid grid(rows, g.k_per_group(), g.groups);
  parallel_tasks(g.groups * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t group = index / grid.size(), first_k = group * g.k_per_group();
    const PatchGeometry<T> patches = input_patches(g, x, group);
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
                                  .b = {.data = w + first_k, .stride = g.k},
                                  .locate_rows = locate_rows,
                                  .epilogue = epilogue.from_column(first_k),
                                  .residual_stride = g.k};
    block_gemm<Arithmetic>(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });
}

}  // namespace

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> implicit_gemm() {
  using T = typename Arithmetic::Element;
  return {.serves = serves,
          .workspace_bytes = workspace_bytes<T>,
          .fprop = fprop<Arithmetic, T>,
          .dgrad = implicit_gemm_dgrad<Arithmetic>(),
          .wgrad = implicit_gemm_wgrad<Arithmetic>()};
}

template ConvAlgorithm<float> implicit_gemm<FloatArithmetic>();
template ConvAlgorithm<BFloat16> implicit_gemm<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> implicit_gemm<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
