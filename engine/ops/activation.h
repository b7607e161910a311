// Activations beyond ReLU. See kernels/activation.h for their formulas.
#pragma once

#include "engine/core/tensor.h"
#include "kernels/activation.h"

namespace retort {

/// f(x), of any shape. Saves x.
Tensor activate(const Tensor& x, const Activation& f);

}  // namespace retort
