// Fully connected layer: y = x w + b, then max(0, y) if relu.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// x [n, in], weight [in, out], bias [out] or empty -> [n, out]. Saves x, and y if relu. Throws Error on other shapes.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu = false);

}  // namespace retort
