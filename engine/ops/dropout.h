// Inverted dropout. See kernels/dropout.h: the mask is drawn again in backward, so only the seed is saved.
#pragma once

#include <cstdint>

#include "engine/core/tensor.h"

namespace retort {

/// x * keep / (1 - p), keep drawn from (seed, stream, element). p in [0, 1); p = 0 returns x. Throws Error otherwise.
Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t stream);

}  // namespace retort
