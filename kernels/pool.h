// Max, average and adaptive average pooling, NHWC.
//
// Output p covers input rows [p*stride_h - pad_h, p*stride_h - pad_h + kernel_h), cut at the edges. With ceil_mode the
// last window may start inside the input or the left padding but not beyond (PyTorch's rule). pad < kernel, so that
// every window holds an element. Average pooling divides by the window's size in the padded input (count_include_pad)
// or by the number of real elements.
// Adaptive pooling: output p of P covers input rows [floor(p*h/P), ceil((p+1)*h/P)); global pooling is P = Q = 1.
#pragma once

#include "kernels/types.h"

namespace retort {

struct Pool2dGeometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1;
  std::int64_t kernel_h = 2, kernel_w = 2, stride_h = 2, stride_w = 2, pad_h = 0, pad_w = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< average only

  constexpr std::int64_t p() const { return extent(h, kernel_h, stride_h, pad_h); }
  constexpr std::int64_t q() const { return extent(w, kernel_w, stride_w, pad_w); }

 private:
  constexpr std::int64_t extent(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad) const {
    const std::int64_t span = in + 2 * pad - kernel;
    std::int64_t out = (ceil_mode ? span + stride - 1 : span) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= in + pad) --out;
    return out;
  }
};

struct AdaptivePoolGeometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1, p = 1, q = 1;
};

struct PoolKernels {
  /// y [n, p, q, c]; index (int32 [n, p, q, c], or null when no gradient is wanted) receives row*w + column of the
  /// first maximum. NaN counts as the maximum.
  Required<void(Stream, const Pool2dGeometry&, const void* x, void* y, std::int32_t* index)> max_forward;
  Required<void(Stream, const Pool2dGeometry&, const void* dy, const std::int32_t* index, void* dx)> max_backward;
  Required<void(Stream, const Pool2dGeometry&, const void* x, void* y)> average_forward;
  Required<void(Stream, const Pool2dGeometry&, const void* dy, void* dx)> average_backward;
  Required<void(Stream, const AdaptivePoolGeometry&, const void* x, void* y)> adaptive_forward;
  Required<void(Stream, const AdaptivePoolGeometry&, const void* dy, void* dx)> adaptive_backward;
};

}  // namespace retort
