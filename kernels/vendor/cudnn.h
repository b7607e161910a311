// Convolutions and softmax by cuDNN 9 (contracts: kernels/conv2d.h, kernels/softmax.h).
//
// For each shape cuDNN times its algorithms once (cudnnFindConvolution...Algorithm, on buffers of its own) and the
// fastest is kept; workspace_bytes asks first, so that happens before any timing and before a step is captured.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/softmax.h"
#include "kernels/vendor/arithmetic.h"
#include "kernels/vendor/table.h"

namespace retort::vendor {

/// An empty string if cuDNN can be used, else why not.
const char* cudnn_unavailable();

template <Arithmetic kArithmetic, Filters kFilters>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g);
template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_fprop(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue, void* y,
                  void* workspace);
template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_dgrad(Stream, const Conv2dGeometry& g, const void* dy, const void* w, void* dx, void* workspace);
template <Arithmetic kArithmetic, Filters kFilters>
void conv2d_wgrad(Stream, const Conv2dGeometry& g, const void* x, const void* dy, void* dw, void* workspace);

/// At a temperature other than 1 our own kernel divides first: cuDNN has none.
template <Arithmetic kArithmetic>
void softmax_forward(Stream, Rows, double temperature, const void* x, void* y);
template <Arithmetic kArithmetic>
void softmax_backward(Stream, Rows, double temperature, const void* y, const void* dy, void* dx);

}  // namespace retort::vendor
