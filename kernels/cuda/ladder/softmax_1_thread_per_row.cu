// Step 1, a thread per row: three loops over the row, for its maximum, its sum and its outputs.
//
// What limits it: the 32 threads of a warp read 32 different rows at once, so each of their loads touches 32 places
// that lie a row apart and uses 4 bytes of the 32 that memory sends; and a batch of 256 rows keeps 8 warps busy on a
// chip that wants thousands.
#include "kernels/cuda/common.h"
#include "kernels/entry.h"
#include "kernels/softmax.h"

namespace retort::RETORT_BACKEND {
namespace {

__global__ void thread_per_row(std::int64_t rows, int classes, float inverse_temperature, const float* x, float* y) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  x += row * classes;
  y += row * classes;
  float largest = -INFINITY, sum = 0;
  for (int i = 0; i < classes; ++i) largest = Max{}(largest, x[i]);
  for (int i = 0; i < classes; ++i) sum += expf((x[i] - largest) * inverse_temperature);
  for (int i = 0; i < classes; ++i) y[i] = expf((x[i] - largest) * inverse_temperature) / sum;
}

void forward(Stream stream, Rows rows, double temperature, const float* x, float* y) {
  if (rows.rows * rows.classes == 0) return;
  dev::launch("softmax_1_thread_per_row", thread_per_row, {{static_cast<unsigned>((rows.rows + 127) / 128)}, {128}},
              stream, rows.rows, static_cast<int>(rows.classes), static_cast<float>(1 / temperature), x, y);
}

}  // namespace

decltype(SoftmaxKernels::forward) softmax_1_thread_per_row() { return entry<forward>; }

}  // namespace retort::RETORT_BACKEND
