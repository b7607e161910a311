// The oracle's softmax (kernels/softmax.h), the row's maximum subtracted so that nothing overflows.
#pragma once

#include "kernels/softmax.h"

namespace retort::reference {

template <class T>
void softmax_forward(Stream, Rows rows, double temperature, const void* x, void* y);

template <class T>
void softmax_backward(Stream, Rows rows, double temperature, const void* y, const void* dy, void* dx);

}  // namespace retort::reference
