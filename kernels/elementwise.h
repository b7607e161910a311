// Elementwise kernels over n contiguous elements, and copies of channel slices. Outputs may alias inputs of the same
// element (in place), never overlap otherwise.
#pragma once

#include "kernels/types.h"

namespace retort {

/// One slice of channels of a row-major [rows, channels] buffer, for concatenation and its inverse.
struct ChannelCopy {
  std::int64_t rows = 1, count = 1;  ///< rows, and channels to copy from each
  std::int64_t source_channels = 1, source_begin = 0;
  std::int64_t target_channels = 1, target_begin = 0;
};

/// The parameter-free shortcut of the CIFAR ResNets ("option A", He et al. 1512.03385): every second row and column,
/// and zero channels before and after: y[n, p, q, before + i] = x[n, 2p, 2q, i], y is [n, ceil(h/2), ceil(w/2), k].
struct ShortcutGeometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1, k = 1;
  std::int64_t stride = 2;
  constexpr std::int64_t p() const { return (h + stride - 1) / stride; }
  constexpr std::int64_t q() const { return (w + stride - 1) / stride; }
  constexpr std::int64_t before() const { return (k - c) / 2; }
};

struct ElementwiseKernels {
  Required<void(Stream, std::int64_t n, double value, void* y)> fill;
  Required<void(Stream, std::int64_t n, const void* a, const void* b, void* y)> add;
  Required<void(Stream, std::int64_t n, double factor, const void* x, void* y)> scale;
  /// y = max(0, x); NaN stays NaN.
  Required<void(Stream, std::int64_t n, const void* x, void* y)> relu_forward;
  /// dx = dy where y > 0, else 0. y is the forward's output.
  Required<void(Stream, std::int64_t n, const void* y, const void* dy, void* dx)> relu_backward;
  /// Writes `count` channels of each row of target; the rest of target is left alone.
  Required<void(Stream, const ChannelCopy&, const void* source, void* target)> copy_channels;
  /// y = x, from one floating-point dtype to another.
  Required<void(Stream, std::int64_t n, DType from, const void* x, DType to, void* y)> convert;
  /// y = factor[0] * x, factor one element of the parameters' dtype.
  Required<void(Stream, std::int64_t n, const void* factor, const void* x, void* y)> scale_by;
  /// Bytes of workspace for sum_rows.
  Required<std::size_t(std::int64_t rows, std::int64_t channels)> sum_rows_workspace_bytes;
  /// y[c] = sum over rows of x[row, c]; a bias's gradient.
  Required<void(Stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void* workspace)> sum_rows;
  Required<void(Stream, const ShortcutGeometry&, const void* x, void* y)> shortcut_forward;
  Required<void(Stream, const ShortcutGeometry&, const void* dy, void* dx)> shortcut_backward;
};

}  // namespace retort
