// Activations beyond ReLU. See kernels/activation.h for their formulas.
#pragma once

#include "engine/core/tape.h"
#include "engine/core/tensor.h"
#include "kernels/activation.h"

namespace retort {

/// f(x), of any shape. Saves x.
Tensor activate(const Tensor& x, const Activation& f);

/// Records dx = dy f'(x) as the gradient of y, under an op's name. Saves x. For ops whose gradient is an activation's.
void record_activation(Tape& tape, const char* op, const Activation& f, const Tensor& x, Tensor& y);

}  // namespace retort
