// The gradient of a convolution's filter by implicit GEMM: a sum over all output positions.
#include <algorithm>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/conv/implicit_gemm_plan.h"
#include "kernels/cpu/range.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv/implicit_gemm_wgrad.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/conv/patches-inl.h"
#include "kernels/cpu/gemm/block_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class Arithmetic, class T>
void wgrad(const Conv2dGeometry& g, const T* x, const T* dy, float* dw, void* workspace) {
  const WgradPlan plan(g);
  const TaskGrid& grid = plan.grid();
  const std::int64_t positions = g.n * g.p() * g.q(), elements = g.r * g.s * g.c_per_group() * g.k;
  float* const partials = pass_buffer<T>(workspace);

  parallel_tasks(g.groups * plan.stretches() * grid.size(), [&](std::int64_t index, int thread) {
    const std::int64_t stretch = index / grid.size() % plan.stretches();
    const std::int64_t group = index / grid.size() / plan.stretches();
    const Range rows = share_of(positions, plan.stretches(), stretch);
    const std::int64_t first_k = group * g.k_per_group();
    float* const target = (stretch == 0 ? dw : partials + (stretch - 1) * elements) + first_k;
    const PatchGeometry<T> patches = input_patches(g, x, group);
    const auto load_panel = [&](const PanelBlock<T>& block) {
      gather_patches(patches, rows.begin + block.depth, block.depths, block.row, block.rows, block.panel, block.stride);
    };
    const auto locate_rows = [&](std::int64_t row, std::int64_t count, float** addresses) {
      for (std::int64_t i = 0; i < count; ++i) addresses[i] = target + (row + i) * g.k;
    };
    const BlockGemm<T, float> product = {.rows = patches.depth(),
                                         .cols = g.k_per_group(),
                                         .depth = rows.size(),
                                         .layout = PanelLayout::depth_major,
                                         .load_panel = load_panel,
                                         .a = stored_patches(patches, rows.begin),
                                         .b = {.data = dy + rows.begin * g.k + first_k, .stride = g.k},
                                         .locate_rows = locate_rows};
    block_gemm<Arithmetic>(product, grid[index % grid.size()], thread_scratch<T>(workspace, thread));
  });

  if (plan.stretches() == 1) return;
  parallel_for(elements, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t stretch = 1; stretch < plan.stretches(); ++stretch)
      for (std::int64_t i = begin; i < end; ++i) dw[i] += partials[(stretch - 1) * elements + i];
  });
}

}  // namespace

template <class Arithmetic>
WgradPass<typename Arithmetic::Element> implicit_gemm_wgrad() {
  return wgrad<Arithmetic, typename Arithmetic::Element>;
}

template WgradPass<float> implicit_gemm_wgrad<FloatArithmetic>();
template WgradPass<BFloat16> implicit_gemm_wgrad<WidenedBf16>();
#if HWY_TARGET == HWY_AVX3
template WgradPass<BFloat16> implicit_gemm_wgrad<NativeBf16>();
#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

/// Filters of up to this many bytes stay in a core's cache while a thread sums into them.
constexpr std::size_t kSmallFilter = 512 * 1024;
/// At most: enough for threads to share, and the same for any number of them, so that the sums have the same bits.
constexpr std::int64_t kMostStretches = 8;

std::int64_t count_stretches(const Conv2dGeometry& g) {
  const std::int64_t positions = g.n * g.p() * g.q();
  if (g.groups > 1 || filter_bytes(g) > kSmallFilter) return 1;
  return std::clamp<std::int64_t>(positions / kBlockDepth<float>, 1, kMostStretches);
}

}  // namespace

WgradPlan::WgradPlan(const Conv2dGeometry& g)
    : filter_bytes_(filter_bytes(g)),
      stretches_(count_stretches(g)),
      grid_(g.r * g.s * g.c_per_group(), g.k_per_group(), g.groups * stretches_) {}

}  // namespace retort::cpu
#endif  // HWY_ONCE
