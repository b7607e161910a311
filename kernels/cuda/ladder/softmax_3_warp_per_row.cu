// Step 3, a warp per row: lanes exchange their partial results by shuffles, registers to registers.
//
// What it fixes: no shared memory and no barrier. A reduction is 5 shuffles, and the 8 warps of a block never wait for
// each other. What limits it: the row is read three times, 4 bytes a lane and load, and each pass waits for its loads;
// one warp alone is slow on a very long row.
#include "kernels/cuda/common.h"
#include "kernels/entry.h"
#include "kernels/softmax.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 8;

__global__ void warp_per_row(std::int64_t rows, int classes, float inverse_temperature, const float* x, float* y) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerBlock + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= rows) return;
  x += row * classes;
  y += row * classes;
  float largest = -INFINITY, sum = 0;
  for (int i = lane; i < classes; i += kWarp) largest = Max{}(largest, x[i]);
  largest = warp_reduce(largest, Max{});
  for (int i = lane; i < classes; i += kWarp) sum += expf((x[i] - largest) * inverse_temperature);
  sum = warp_reduce(sum, Sum{});
  for (int i = lane; i < classes; i += kWarp) y[i] = expf((x[i] - largest) * inverse_temperature) / sum;
}

void forward(Stream stream, Rows rows, double temperature, const float* x, float* y) {
  if (rows.rows * rows.classes == 0) return;
  dev::launch("softmax_3_warp_per_row", warp_per_row,
              {{static_cast<unsigned>((rows.rows + kRowsPerBlock - 1) / kRowsPerBlock)}, {kRowsPerBlock * kWarp}},
              stream, rows.rows, static_cast<int>(rows.classes), static_cast<float>(1 / temperature), x, y);
}

}  // namespace

decltype(SoftmaxKernels::forward) softmax_3_warp_per_row() { return entry<forward>; }

}  // namespace retort::RETORT_BACKEND
