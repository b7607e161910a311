// Softmax on the CPU: T in and out, float or BFloat16, double inside (contract: kernels/softmax.h).
#pragma once

#include "kernels/softmax.h"

namespace retort::cpu {

template <class T>
void softmax_forward(Stream, Rows rows, double temperature, const void* x, void* y);
template <class T>
void softmax_backward(Stream, Rows rows, double temperature, const void* y, const void* dy, void* dx);

}  // namespace retort::cpu
