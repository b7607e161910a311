// Softmax on the CPU: f32 in and out, double inside (contract: kernels/softmax.h).
#pragma once

#include "kernels/softmax.h"

namespace retort::cpu {

void softmax_forward(Stream, Rows rows, double temperature, const void* x, void* y);
void softmax_backward(Stream, Rows rows, double temperature, const void* y, const void* dy, void* dx);

}  // namespace retort::cpu
