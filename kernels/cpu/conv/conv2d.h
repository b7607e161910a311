// The CPU backend's convolution as implicit GEMM, in f32 and in bf16 with sums in f32; kernels/conv2d.h has the
// contract.
//
//            rows             cols   depth      A                                   B
//   fprop    (n, p, q)        k      (r, s, c)  patches of x                        w
//   dgrad    (n, h, w)        c      (r, s, k)  patches of dy                       w, c and k exchanged
//   wgrad    (r, s, c)        k      (n, p, q)  patches of x, transposed            dy
//
// dgrad with a stride runs once per residue class of (h, w) modulo the stride: each class sees its own taps only, all
// of them at unit stride in dy, so that no product with a hole is computed.
#pragma once

#include "kernels/conv2d.h"

namespace retort::cpu {

/// For the present num_threads(); asked for again when that changes. T: of x, w and y, float or BFloat16.
template <class T>
std::size_t conv2d_workspace_bytes(ConvPass pass, const Conv2dGeometry& geometry);
template <class T>
void conv2d_fprop(Stream stream, const Conv2dGeometry& geometry, const void* x, const void* w,
                  const ConvEpilogue& epilogue, void* y, void* workspace);
template <class T>
void conv2d_dgrad(Stream stream, const Conv2dGeometry& geometry, const void* dy, const void* w, void* dx,
                  void* workspace);
template <class T>
void conv2d_wgrad(Stream stream, const Conv2dGeometry& geometry, const void* x, const void* dy, void* dw,
                  void* workspace);

}  // namespace retort::cpu
