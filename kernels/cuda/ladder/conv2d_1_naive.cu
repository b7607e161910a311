// Step 1, naive: the formula as it stands, a thread for each element of y.
//
// Neighbouring threads make neighbouring channels: they read the same element of x, which a warp fetches once, and
// neighbouring elements of w, which come in one piece. What limits it: every multiply-add waits for two loads. The
// whole window of x is read again for each output channel, all of w for each pixel, and the caches must bear it.
#include "kernels/cuda/ladder/conv2d_product.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

__global__ void naive(ConvProduct g, const float* x, const float* w, Finish finish, float* y) {
  const std::int64_t outputs = std::int64_t{g.m} * g.k, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < outputs; i += stride) {
    const int row = static_cast<int>(i / g.k), channel = static_cast<int>(i % g.k);
    const int group = channel / g.n, column = channel % g.n;
    float sum = 0;
    for (int d = 0; d < g.depth; ++d) {
      const std::int64_t at = g.patch(group, row, d);
      if (at >= 0) sum += x[at] * w[g.filter(group, d, column)];
    }
    g.write(group, row, column, sum, finish, y);
  }
}

void fprop(Stream stream, const Conv2dGeometry& geometry, const float* x, const float* w, const ConvEpilogue& epilogue,
           float* y, void*) {
  const ConvProduct g(geometry);
  const std::int64_t outputs = std::int64_t{g.m} * g.k;
  if (outputs == 0) return;
  dev::launch("conv2d_fprop_1_naive", naive, {{blocks_for(outputs, 256)}, {256}}, stream, g, x, w, Finish(epilogue), y);
}

}  // namespace

decltype(Conv2dKernels::fprop) conv2d_fprop_1_naive() { return entry<fprop>; }

}  // namespace retort::RETORT_BACKEND
