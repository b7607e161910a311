// What the ops share: the checks of their arguments, and the gradient of a folded-in ReLU.
#pragma once

#include "engine/core/check.h"
#include "engine/core/tensor.h"

namespace retort {

/// Throws Error unless the tensor is f32 or f64 and has `rank` axes. `layout` names them: "[n, h, w, c]".
inline void check_input(const char* op, const Tensor& x, int rank, const char* layout) {
  check(x && (x.dtype() == DType::f32 || x.dtype() == DType::f64) && x.shape().rank() == rank, "[", op,
        "] the input is ", x ? text(to_string(x.dtype()), " ", x.shape()) : "empty", "; give f32 or f64 ", layout);
}

/// Throws Error unless the tensor, which messages call `name`, has that shape and dtype.
inline void check_operand(const char* op, const char* name, const Tensor& tensor, const Shape& shape, DType dtype) {
  check(tensor && tensor.shape() == shape && tensor.dtype() == dtype, "[", op, "] ", name, " is ",
        tensor ? text(to_string(tensor.dtype()), " ", tensor.shape()) : "empty", "; give ", to_string(dtype), " ",
        shape);
}

/// dy where y > 0, else 0; in place if no one else holds dy.
Tensor relu_gradient(const Tensor& y, const Tensor& dy);

/// The gradient of a bias: the sum of dy [..., c] over all axes but the last.
Tensor bias_gradient(const Tensor& dy);

}  // namespace retort
