// The rows of x [rows, classes] at unit length:  y = x / n,  n = sqrt(sum_j x_j^2 + kLengthFloor^2), so that a row of
// zeros stays one.
// Its gradient:  dx_i = (dy_i - y_i sum_j dy_j y_j) / n.
#pragma once

#include "kernels/softmax.h"

namespace retort {

/// PyTorch's, of torch.nn.functional.normalize.
inline constexpr double kLengthFloor = 1e-12;

struct NormalizeKernels {
  /// inverse is [rows], of the parameters' dtype: 1 / n, what backward needs.
  Required<void(Stream, Rows, const void* x, void* y, void* inverse)> forward;
  /// dx may be dy.
  Required<void(Stream, Rows, const void* y, const void* inverse, const void* dy, void* dx)> backward;
};

}  // namespace retort
