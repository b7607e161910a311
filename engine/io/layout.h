// The one place where memory layout (NHWC world) meets file layout (PyTorch's).
#pragma once

#include "engine/core/tensor.h"
#include "engine/nn/module.h"

namespace retort {

/// The shape a parameter has in a file.
Shape file_shape(const Parameter& parameter);
/// A copy in file layout. `value` (default: the parameter's own) may be its gradient or an optimizer moment.
Tensor to_file_layout(const Parameter& parameter, const Tensor& value);
/// Copies a file tensor into parameter.value (converting f64 to f32). Throws Error with name, found and expected shape.
void from_file_layout(const Tensor& file, Parameter& parameter);

/// [n, c, h, w] <-> [n, h, w, c] copies.
Tensor nchw_to_nhwc(const Tensor& x);
Tensor nhwc_to_nchw(const Tensor& x);

}  // namespace retort
