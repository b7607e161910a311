// Dropout on the CPU, T: float or BFloat16 (contract: kernels/dropout.h).
#pragma once

#include "kernels/dropout.h"

namespace retort::cpu {

template <class T>
void dropout_apply(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const void* x,
                   void* y);

}  // namespace retort::cpu
