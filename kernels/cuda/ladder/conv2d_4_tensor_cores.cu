// Step 4, tensor cores: the slices of step 3, multiplied by mma m16n8k8. A warp makes 64 x 32 of the tile's 128 x 128
// outputs, in 4 x 4 fragments; operands are rounded to tf32 (10 bits of mantissa), sums are f32.
//
// What it fixes: one instruction of a warp is 1024 multiply-adds instead of 32. What limits it: one slice in shared
// memory. The block fetches, meets, multiplies, meets: the tensor cores wait while loads are on their way, and the
// faster they are the larger is the share of that wait.
#include "kernels/cuda/ladder/conv2d_slice.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kWarpM = 64, kWarpN = 32, kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;

template <bool kWide>
__global__ void __launch_bounds__(kTileThreads)
    tensor_cores(ConvProduct g, const float* x, const float* w, Finish finish, float* y) {
  ConvSlice& slice = dev::shared<ConvSlice>();
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int tiles_n = (g.n + kTileN - 1) / kTileN, group = static_cast<int>(blockIdx.y);
  const int m0 = static_cast<int>(blockIdx.x) / tiles_n * kTileM, n0 = static_cast<int>(blockIdx.x) % tiles_n * kTileN;
  // Of the warp in the tile, and of the lane in a fragment: a quad of lanes shares a row of A and C, or a column of B.
  const int warp_m = warp / (kTileN / kWarpN) * kWarpM, warp_n = warp % (kTileN / kWarpN) * kWarpN;
  const int quad = lane / 4, within = lane % 4;
  float sums[kFragmentsM][kFragmentsN][4];
#pragma unroll
  for (int i = 0; i < kFragmentsM * kFragmentsN * 4; ++i) sums[i / 4 / kFragmentsN][i / 4 % kFragmentsN][i % 4] = 0;

  for (int d = 0; d < g.depth; d += kSliceDepth) {
    fetch<kWide>(g, group, m0, n0, d, x, w, slice);
    dev::syncthreads();
#pragma unroll
    for (int k = 0; k < kSliceDepth; k += 8) {
      std::uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          a[i][r] = dev::to_tf32(slice.a[k + within + r / 2 * 4][warp_m + i * 16 + quad + r % 2 * 8]);
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) b[j][r] = dev::to_tf32(slice.b[k + within + r * 4][warp_n + j * 8 + quad]);
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) dev::mma_tf32(sums[i][j], a[i], b[j]);
    }
    dev::syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
    for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        g.write(group, m0 + warp_m + i * 16 + quad + r / 2 * 8, n0 + warp_n + j * 8 + within * 2 + r % 2, sums[i][j][r],
                finish, y);
}

void fprop(Stream stream, const Conv2dGeometry& g, const float* x, const float* w, const ConvEpilogue& epilogue,
           float* y, void*) {
  launch_tile_kernel("conv2d_fprop_4_tensor_cores", tensor_cores<true>, tensor_cores<false>, stream, g, x, w, epilogue,
                     y);
}

}  // namespace

decltype(Conv2dKernels::fprop) conv2d_fprop_4_tensor_cores() { return entry<fprop>; }

}  // namespace retort::RETORT_BACKEND
