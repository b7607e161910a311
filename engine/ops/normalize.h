// Rows at unit length. See kernels/normalize.h.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// x [n, k] -> each row over its length. Saves y and the lengths.
Tensor normalize(const Tensor& x);

}  // namespace retort
