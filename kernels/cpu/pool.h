// Pooling on the CPU, T: float or BFloat16, vectorised over channels (contract: kernels/pool.h). The backward kernels
// gather: an input element asks the outputs whose windows cover it, so that nothing is zeroed first and no two tasks
// write one element.
#pragma once

#include "kernels/pool.h"

namespace retort::cpu {

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

}  // namespace retort::cpu
