// Convolutions and matrix products for CUDA and the simulator (contracts: kernels/conv2d.h, kernels/gemm.h). Buffers
// are aligned to 16 bytes.
//
// How the products are multiplied is part of the name: exact_f32, tf32 (f32 operands rounded to 10 bits of mantissa, on
// tensor cores) and bf16 (bf16 operands, f32 sums; the gradients of filters are f32).
#pragma once

#include "kernels/conv2d.h"
#include "kernels/cuda/backend.h"
#include "kernels/gemm.h"

namespace retort::RETORT_BACKEND {

struct exact_f32;
struct tf32;
struct bf16;

template <class Kind>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& g);
template <class Kind>
void conv2d_fprop(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue, void* y,
                  void* workspace);
template <class Kind>
void conv2d_dgrad(Stream, const Conv2dGeometry& g, const void* dy, const void* w, void* dx, void* workspace);
template <class Kind>
void conv2d_wgrad(Stream, const Conv2dGeometry& g, const void* x, const void* dy, void* dw, void* workspace);

template <class Kind>
std::size_t gemm_workspace_bytes(const GemmGeometry& g);
template <class Kind>
void gemm_run(Stream, const GemmGeometry& g, const void* a, const void* b, const void* bias, bool relu, void* c,
              void* workspace);

}  // namespace retort::RETORT_BACKEND
