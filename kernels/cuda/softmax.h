// Softmax for CUDA and the simulator (contract: kernels/softmax.h). T is float or BFloat16.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/softmax.h"

namespace retort::RETORT_BACKEND {

template <class T>
void softmax_forward(Stream, Rows rows, double temperature, const void* x, void* y);

template <class T>
void softmax_backward(Stream, Rows rows, double temperature, const void* y, const void* dy, void* dx);

}  // namespace retort::RETORT_BACKEND
