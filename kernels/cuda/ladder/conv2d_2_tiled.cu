// Step 2, tiled: a block makes a tile of 16 x 16 outputs and walks along the depth (r, s, c) in slices of 16. The
// slices of A (patches of x) and B (the filter) are fetched once into shared memory, then every thread reads them
// there.
//
// What it fixes: an element that is fetched now serves 16 outputs, so 16 times fewer loads go to the caches and memory.
// What limits it: each multiply-add still takes two loads, now of shared memory, which gives a warp one such load a
// clock where the arithmetic could take four multiply-adds.
#include "kernels/cuda/ladder/conv2d_product.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kTile = 16;

struct Slice {
  float a[kTile][kTile], b[kTile][kTile];
};

__global__ void tiled(ConvProduct g, const float* x, const float* w, Finish finish, float* y) {
  Slice& slice = dev::shared<Slice>();
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int tiles_n = (g.n + kTile - 1) / kTile, group = static_cast<int>(blockIdx.y);
  const int row = static_cast<int>(blockIdx.x) / tiles_n * kTile + ty;
  const int column = static_cast<int>(blockIdx.x) % tiles_n * kTile + tx;
  float sum = 0;
  for (int d = 0; d < g.depth; d += kTile) {
    // Neighbouring threads fetch neighbouring channels of x, and neighbouring columns of w.
    const std::int64_t a = g.patch(group, row, d + tx), b = g.filter(group, d + ty, column);
    slice.a[ty][tx] = a >= 0 ? x[a] : 0;
    slice.b[ty][tx] = b >= 0 ? w[b] : 0;
    dev::syncthreads();
    for (int i = 0; i < kTile; ++i) sum += slice.a[ty][i] * slice.b[i][tx];
    dev::syncthreads();  // all have read it: the slice may be overwritten
  }
  g.write(group, row, column, sum, finish, y);
}

void fprop(Stream stream, const Conv2dGeometry& geometry, const float* x, const float* w, const ConvEpilogue& epilogue,
           float* y, void*) {
  const ConvProduct g(geometry);
  if (std::int64_t{g.m} * g.k == 0) return;
  dev::launch("conv2d_fprop_2_tiled", tiled, {g.grid(kTile, kTile), {kTile, kTile}}, stream, g, x, w, Finish(epilogue),
              y);
}

}  // namespace

decltype(Conv2dKernels::fprop) conv2d_fprop_2_tiled() { return entry<fprop>; }

}  // namespace retort::RETORT_BACKEND
