// Softmax with temperature over the rows of x [rows, classes]:  y_i = exp(x_i / T) / sum_j exp(x_j / T).
// Its gradient:  dx_i = y_i * (dy_i - sum_j dy_j y_j) / T.
#pragma once

#include "kernels/types.h"

namespace retort {

struct Rows {
  std::int64_t rows = 1, classes = 1;
};

struct SoftmaxKernels {
  Required<void(Stream, Rows, double temperature, const void* x, void* y)> forward;
  Required<void(Stream, Rows, double temperature, const void* y, const void* dy, void* dx)> backward;
};

}  // namespace retort
