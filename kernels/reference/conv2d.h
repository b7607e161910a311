// The oracle's convolution (kernels/conv2d.h): seven loops, each output element summed in double.
#pragma once

#include "kernels/conv2d.h"

namespace retort::reference {

std::size_t conv2d_workspace_bytes(ConvPass, const Conv2dGeometry&);

template <class T>
void conv2d_fprop(Stream, const Conv2dGeometry& g, const void* x, const void* w, const ConvEpilogue& epilogue, void* y,
                  void* workspace);

template <class T>
void conv2d_dgrad(Stream, const Conv2dGeometry& g, const void* dy, const void* w, void* dx, void* workspace);

template <class T>
void conv2d_wgrad(Stream, const Conv2dGeometry& g, const void* x, const void* dy, void* dw, void* workspace);

}  // namespace retort::reference
