// The one place where memory layout (NHWC world) meets file layout (PyTorch's).
#pragma once

#include "engine/core/tensor.h"
#include "engine/nn/module.h"

namespace retort {

/// The shape a parameter has in a file.
Shape file_shape(const Parameter& parameter);
/// A copy of `value` in file layout: the parameter's own value, its gradient or an optimizer moment.
Tensor to_file_layout(const Parameter& parameter, const Tensor& value);
/// Copies a file tensor into parameter.value's elements in place, converting between f32 and f64. Throws Error with the
/// parameter's name, found and expected shape or dtype.
void from_file_layout(const Tensor& file, Parameter& parameter);

/// [n, c, h, w] <-> [n, h, w, c] copies.
Tensor nchw_to_nhwc(const Tensor& x);
Tensor nhwc_to_nchw(const Tensor& x);

}  // namespace retort
