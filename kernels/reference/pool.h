// The oracle's pooling (kernels/pool.h).
#pragma once

#include "kernels/pool.h"

namespace retort::reference {

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

}  // namespace retort::reference
