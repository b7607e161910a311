// What the ops share: the checks of their arguments, and the gradient of a folded-in ReLU.
#pragma once

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/tensor.h"
#include "kernels/memory.h"

namespace retort {

/// Throws Error unless the tensor is of a floating-point dtype and has `rank` axes. `layout` names them: "[n, h, w,
/// c]".
inline void check_input(const char* op, const Tensor& x, int rank, const char* layout) {
  const bool floating = x && is_floating(x.dtype());
  check(floating && x.shape().rank() == rank, "[", op, "] the input is ",
        x ? text(to_string(x.dtype()), " ", x.shape()) : "empty", "; give f32, f64 or bf16 ", layout);
}

/// Throws Error unless the tensor, which messages call `name`, has that shape and dtype.
inline void check_operand(const char* op, const char* name, const Tensor& tensor, const Shape& shape, DType dtype) {
  check(tensor && tensor.shape() == shape && tensor.dtype() == dtype, "[", op, "] ", name, " is ",
        tensor ? text(to_string(tensor.dtype()), " ", tensor.shape()) : "empty", "; give ", to_string(dtype), " ",
        shape);
}

/// Throws Error unless both lie on one device.
inline void check_device(const char* op, const Tensor& x, const Tensor& other) {
  check(x.device() == other.device(), "[", op, "] one operand is on ", to_string(x.device()), ", another on ",
        to_string(other.device()), "; move them to one device");
}

/// Uninitialised: for what belongs to parameters or channels beside activations like x.
inline Tensor empty_parameter(const Tensor& x, const Shape& shape) {
  return Tensor::empty(shape, parameter_dtype(x.dtype()), x.device());
}

/// A filter as the kernels for x take it: itself, or converted for an x in bf16.
inline Tensor filter_like(const Tensor& x, const Tensor& filter) {
  return filter.dtype() == x.dtype() ? filter.detached() : filter.to(x.dtype());
}

/// dy where y > 0, else 0; in place if no one else holds dy.
Tensor relu_gradient(const Tensor& y, const Tensor& dy);

/// The gradient of a bias: the sum of dy [..., c] over all axes but the last.
Tensor bias_gradient(const Tensor& dy);

}  // namespace retort
