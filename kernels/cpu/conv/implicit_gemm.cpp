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

/// packed: in place of w, the groups' filters as pack_all leaves them, one after the other; or null.
template <class Arithmetic, class T>
void run_fprop(const Conv2dGeometry& g, const TaskGrid& grid, const T* x, const T* w, const float* packed,
               const Epilogue<T>& epilogue, T* y, void* workspace) {
  parallel_tasks(g.groups * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t group = index / grid.size(), first_k = group * g.k_per_group();
    const PatchGeometry<T> patches = input_patches(g, x, group);
    const auto load_panel = [&](const PanelBlock<T>& block) {
      gather_patches(patches, block.row, block.rows, block.depth, block.depths, block.panel, block.stride);
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t count, T** addresses) {
      for (std::int64_t i = 0; i < count; ++i) addresses[i] = y + (row + i) * g.k + first_k;
    };
    BlockGemm<T> product = {.rows = g.n * g.p() * g.q(),
                            .cols = g.k_per_group(),
                            .depth = patches.depth(),
                            .layout = PanelLayout::row_major,
                            .load_panel = load_panel,
                            .a = stored_patches(patches),
                            .b = {.data = nullptr, .stride = g.k},
                            .locate_rows = locate_rows,
                            .epilogue = epilogue.from_column(first_k),
                            .residual_stride = g.k};
    if (packed != nullptr)
      product.packed = packed + group * packed_floats(product.depth, product.cols);
    else
      product.b.data = w + first_k;
    block_gemm<Arithmetic>(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });
}

template <class Arithmetic, class T>
void fprop(const Conv2dGeometry& g, const T* x, const T* w, const Epilogue<T>& epilogue, T* y, void* workspace) {
  const TaskGrid grid(g.n * g.p() * g.q(), g.k_per_group(), g.groups);
  run_fprop<Arithmetic, T>(g, grid, x, w, nullptr, epilogue, y, workspace);
}

/// With many rows packing is a small part of the work, and a second copy of a large filter all that would be gained.
constexpr std::int64_t kManyRows = 1024, kSmallFilter = 1 << 16;

std::int64_t filter_depth(const Conv2dGeometry& g) { return g.r * g.s * g.c_per_group(); }

std::size_t prepared_bytes(const Conv2dGeometry& g) {
  const std::int64_t floats = g.groups * packed_floats(filter_depth(g), g.k_per_group());
  if (g.n * g.p() * g.q() >= kManyRows && floats > kSmallFilter) return 0;
  return static_cast<std::size_t>(floats) * sizeof(float);
}

void prepare(const Conv2dGeometry& g, const float* w, void* prepared) {
  const std::int64_t each = packed_floats(filter_depth(g), g.k_per_group());
  for (std::int64_t group = 0; group < g.groups; ++group)
    pack_all({.data = w + group * g.k_per_group(), .stride = g.k}, filter_depth(g), g.k_per_group(),
             static_cast<float*>(prepared) + group * each);
}

void fprop_prepared(const Conv2dGeometry& g, const float* x, const void* prepared, const Epilogue<float>& epilogue,
                    float* y, void* workspace) {
  const TaskGrid grid = TaskGrid::of_packed(g.n * g.p() * g.q(), g.k_per_group(), filter_depth(g));
  run_fprop<FloatArithmetic, float>(g, grid, x, nullptr, static_cast<const float*>(prepared), epilogue, y, workspace);
}

}  // namespace

template <class Arithmetic>
ConvAlgorithm<typename Arithmetic::Element> implicit_gemm() {
  using T = typename Arithmetic::Element;
  ConvAlgorithm<T> algorithm = {.serves = serves,
                                .workspace_bytes = workspace_bytes<T>,
                                .fprop = fprop<Arithmetic, T>,
                                .dgrad = implicit_gemm_dgrad<Arithmetic>(),
                                .wgrad = implicit_gemm_wgrad<Arithmetic>()};
  if constexpr (std::is_same_v<T, float>)
    algorithm.prepared = PreparedFilter<float>{.bytes = prepared_bytes, .prepare = prepare, .fprop = fprop_prepared};
  return algorithm;
}

template ConvAlgorithm<float> implicit_gemm<FloatArithmetic>();
template ConvAlgorithm<BFloat16> implicit_gemm<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template ConvAlgorithm<BFloat16> implicit_gemm<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
