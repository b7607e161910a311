// Pooling for CUDA and the simulator (contract: kernels/pool.h). T is float or BFloat16.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/pool.h"

namespace retort::RETORT_BACKEND {

template <class T>
void max_pool_forward(Stream, const Pool2dGeometry& g, const void* x, void* y, std::int32_t* index);
template <class T>
void max_pool_backward(Stream, const Pool2dGeometry& g, const void* dy, const std::int32_t* index, void* dx);
template <class T>
void average_pool_forward(Stream, const Pool2dGeometry& g, const void* x, void* y);
template <class T>
void average_pool_backward(Stream, const Pool2dGeometry& g, const void* dy, void* dx);
template <class T>
void adaptive_pool_forward(Stream, const AdaptivePoolGeometry& g, const void* x, void* y);
template <class T>
void adaptive_pool_backward(Stream, const AdaptivePoolGeometry& g, const void* dy, void* dx);

}  // namespace retort::RETORT_BACKEND
