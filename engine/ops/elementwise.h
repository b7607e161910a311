// Ops on each element alone, and those that move elements: sums, scales, ReLU, conversions, concatenation, views, the
// option A shortcut.
#pragma once

#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// a + b, of one shape. Saves nothing.
Tensor add(const Tensor& a, const Tensor& b);

/// factor * x. Saves nothing.
Tensor scale(const Tensor& x, double factor);

/// x in another floating-point dtype; its gradient is converted back. Saves nothing.
Tensor cast(const Tensor& x, DType dtype);

/// max(0, x). Saves y.
Tensor relu(const Tensor& x);

/// Joins along the last axis; the other extents agree. Saves nothing.
Tensor concat(const std::vector<Tensor>& parts);

/// The same elements under another shape of as many, a view. Saves nothing.
Tensor reshape(const Tensor& x, const Shape& shape);

/// [n, h, w, c] -> [n, h*w*c], a view. Saves nothing.
Tensor flatten(const Tensor& x);

/// Option A shortcut of the CIFAR ResNets, [n, h, w, c] -> [n, ceil(h/stride), ceil(w/stride), k]; see
/// kernels/elementwise.h. Saves nothing.
Tensor shortcut(const Tensor& x, std::int64_t channels, std::int64_t stride);

}  // namespace retort
