// Step 3, registers: a thread makes 8 x 8 outputs of a tile of 128 x 128. For each step of depth it takes 8 elements of
// A and 8 of B from shared memory, four a load, and multiplies every pair.
//
// What it fixes: 4 loads of shared memory now feed 64 multiply-adds, where step 2 took 2 for each one; and an element
// that comes from memory serves 128 outputs, not 16. What limits it: the ordinary cores' rate, one multiply-add a lane
// and clock; and while a slice is fetched nobody multiplies.
#include "kernels/cuda/ladder/conv2d_slice.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

/// Place of a thread's item 0 ... 7 along an edge of the tile: two runs of four, 64 apart, so that a warp's loads of
/// neighbouring fours fill all banks.
__device__ __forceinline__ int place(int thread, int item) { return thread * 4 + item / 4 * 64 + item % 4; }

template <bool kWide>
__global__ void __launch_bounds__(kTileThreads)
    registers(ConvProduct g, const float* x, const float* w, Finish finish, float* y) {
  ConvSlice& slice = dev::shared<ConvSlice>();
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  const int tiles_n = (g.n + kTileN - 1) / kTileN, group = static_cast<int>(blockIdx.y);
  const int m0 = static_cast<int>(blockIdx.x) / tiles_n * kTileM, n0 = static_cast<int>(blockIdx.x) % tiles_n * kTileN;
  float sums[8][8];
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[i][j] = 0;

  for (int d = 0; d < g.depth; d += kSliceDepth) {
    fetch<kWide>(g, group, m0, n0, d, x, w, slice);
    dev::syncthreads();
    for (int k = 0; k < kSliceDepth; ++k) {
      Pack<float, 4> a[2], b[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        a[half] = dev::load<Pack<float, 4>>(&slice.a[k][place(ty, half * 4)]);
        b[half] = dev::load<Pack<float, 4>>(&slice.b[k][place(tx, half * 4)]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] += a[i / 4].v[i % 4] * b[j / 4].v[j % 4];
    }
    dev::syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) g.write(group, m0 + place(ty, i), n0 + place(tx, j), sums[i][j], finish, y);
}

void fprop(Stream stream, const Conv2dGeometry& g, const float* x, const float* w, const ConvEpilogue& epilogue,
           float* y, void*) {
  launch_tile_kernel("conv2d_fprop_3_registers", registers<true>, registers<false>, stream, g, x, w, epilogue, y);
}

}  // namespace

decltype(Conv2dKernels::fprop) conv2d_fprop_3_registers() { return entry<fprop>; }

}  // namespace retort::RETORT_BACKEND
