// Softmax with temperature over the last axis. See kernels/softmax.h.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// x [n, ..., classes] -> probabilities at the temperature (> 0; throws Error otherwise). Saves y.
Tensor softmax(const Tensor& x, double temperature = 1);

}  // namespace retort
