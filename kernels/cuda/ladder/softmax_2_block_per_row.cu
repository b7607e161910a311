// Step 2, a block per row: 256 threads stride over a row, neighbours over neighbouring elements; maximum and sum are
// reduced by a tree in shared memory.
//
// What it fixes: a warp's 32 loads are 128 contiguous bytes, and every row brings 8 warps. What limits it: each of the
// two trees takes 10 barriers of the whole block, mostly to add numbers within one warp; with 1000 classes a thread has
// 4 elements to show for them, with 10 most threads have none. And the row is still read three times.
#include "kernels/cuda/common.h"
#include "kernels/entry.h"
#include "kernels/softmax.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

struct Tree {
  float values[kThreads];
};

/// Over all threads of the block; every thread gets the result.
template <class Op>
__device__ float tree_reduce(float value, Op op, float* values) {
  const int t = static_cast<int>(threadIdx.x);
  values[t] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    dev::syncthreads();
    if (t < half) values[t] = op(values[t], values[t + half]);
  }
  dev::syncthreads();
  const float result = values[0];
  dev::syncthreads();  // all have read it: the next tree may begin
  return result;
}

__global__ void block_per_row(int classes, float inverse_temperature, const float* x, float* y) {
  float* const values = dev::shared<Tree>().values;
  x += std::int64_t{blockIdx.x} * classes;
  y += std::int64_t{blockIdx.x} * classes;
  const int t = static_cast<int>(threadIdx.x);
  float largest = -INFINITY, sum = 0;
  for (int i = t; i < classes; i += kThreads) largest = Max{}(largest, x[i]);
  largest = tree_reduce(largest, Max{}, values);
  for (int i = t; i < classes; i += kThreads) sum += expf((x[i] - largest) * inverse_temperature);
  sum = tree_reduce(sum, Sum{}, values);
  for (int i = t; i < classes; i += kThreads) y[i] = expf((x[i] - largest) * inverse_temperature) / sum;
}

void forward(Stream stream, Rows rows, double temperature, const float* x, float* y) {
  if (rows.rows * rows.classes == 0) return;
  dev::launch("softmax_2_block_per_row", block_per_row, {{static_cast<unsigned>(rows.rows)}, {kThreads}}, stream,
              static_cast<int>(rows.classes), static_cast<float>(1 / temperature), x, y);
}

}  // namespace

decltype(SoftmaxKernels::forward) softmax_2_block_per_row() { return entry<forward>; }

}  // namespace retort::RETORT_BACKEND
