// Layer normalisation over the last axis. See kernels/layer_norm.h.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// x [..., c], gamma [c], beta [c] -> [..., c]: each row about its own mean, over its own deviation. Saves x and two
/// numbers a row. Throws Error on other shapes.
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps);

}  // namespace retort
