// Dropout for CUDA and the simulator (contract: kernels/dropout.h). T is float or BFloat16.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/dropout.h"

namespace retort::RETORT_BACKEND {

template <class T>
void dropout_apply(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const void* x,
                   void* y);

}  // namespace retort::RETORT_BACKEND
