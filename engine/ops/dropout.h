// Inverted dropout. See kernels/dropout.h: the mask is drawn again in backward, so only the seed is saved.
#pragma once

#include <cstdint>

#include "engine/core/tensor.h"

namespace retort {

/// The key of dropout's masks on a device: i64 [2] of seed and stream.
Tensor dropout_key(std::uint64_t seed, std::uint64_t stream, Device device = Device::cpu);

/// x * keep / (1 - p), keep drawn from (seed, stream | layer, element) with the key's seed and stream. p in [0, 1);
/// p = 0 returns x. Throws Error otherwise.
Tensor dropout(const Tensor& x, double p, const Tensor& key, std::uint64_t layer = 0);

}  // namespace retort
