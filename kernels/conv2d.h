// Two-dimensional convolution (cross-correlation, as everywhere in deep learning).
//
//   y[n, p, q, k] = sum over r, s, c of  x[n, p*stride_h - pad_h + r*dilation_h,
//                                           q*stride_w - pad_w + s*dilation_w, c] * w[r, s, c, k]
//
// x is NHWC [n, h, w, c], y is NHWC [n, p, q, k], w is RSCK [r, s, c / groups, k]; outside x counts as 0. With
// groups, output channels [g*k/groups, (g+1)*k/groups) see input channels [g*c/groups, (g+1)*c/groups).
#pragma once

#include <limits>
#include <optional>

#include "kernels/types.h"

namespace retort {

/// The shape of a convolution as a value. All extents are in elements; c and k are multiples of groups.
struct Conv2dGeometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1;  ///< input
  std::int64_t k = 1, r = 1, s = 1;         ///< output channels, filter rows and columns
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  std::int64_t more_below = 0, more_right = 0;  ///< padding beyond pad_h and pad_w on those sides, at least 0

  constexpr std::int64_t p() const { return (h + 2 * pad_h + more_below - dilation_h * (r - 1) - 1) / stride_h + 1; }
  constexpr std::int64_t q() const { return (w + 2 * pad_w + more_right - dilation_w * (s - 1) - 1) / stride_w + 1; }
  constexpr std::int64_t c_per_group() const { return c / groups; }
  constexpr std::int64_t k_per_group() const { return k / groups; }
  bool operator==(const Conv2dGeometry&) const = default;
  /// Multiply-adds of one pass; fprop, dgrad and wgrad all need this many.
  constexpr std::int64_t macs() const { return n * p() * q() * k * r * s * c_per_group(); }
};

enum class ConvPass : std::uint8_t { fprop, dgrad, wgrad };

/// What becomes of fprop's sums in the same pass: y = act(scale[k] * sum + bias[k] + residual), act(x) =
/// min(max(0, x), ceiling) if relu; a NaN stays one. Batch normalisation by running statistics is such a scale and bias
/// (BatchNormKernels::fold).
struct ConvEpilogue {
  const void* scale = nullptr;     ///< [k] of a parameter's dtype, or null for 1
  const void* bias = nullptr;      ///< likewise, or null for 0
  const void* residual = nullptr;  ///< of y's shape and dtype and apart from y, or null for 0
  bool relu = false;
  float ceiling = std::numeric_limits<float>::infinity();  ///< above 0; read if relu
};

/// A filter laid out once as fprop reads it fastest, for many calls with the same weight and geometry. `prepared` is
/// aligned to 64 bytes.
struct PreparedFilterKernels {
  /// Bytes of such a filter; 0 where the geometry gains nothing by it.
  Required<std::size_t(const Conv2dGeometry&)> bytes;
  Required<void(Stream, const Conv2dGeometry&, const void* w, void* prepared)> prepare;
  /// Conv2dKernels::fprop's y, bit for bit. The workspace is fprop's.
  Required<void(Stream, const Conv2dGeometry&, const void* x, const void* prepared, const ConvEpilogue&, void* y,
                void* workspace)>
      fprop;
};

struct Conv2dKernels {
  /// Bytes of workspace the pass wants; 0 is common.
  Required<std::size_t(ConvPass, const Conv2dGeometry&)> workspace_bytes;
  /// y = conv(x, w), and what the epilogue asks for.
  Required<void(Stream, const Conv2dGeometry&, const void* x, const void* w, const ConvEpilogue&, void* y,
                void* workspace)>
      fprop;
  /// dx = the gradient of the input, every element written.
  Required<void(Stream, const Conv2dGeometry&, const void* dy, const void* w, void* dx, void* workspace)> dgrad;
  /// dw = the gradient of the filter, RSCK.
  Required<void(Stream, const Conv2dGeometry&, const void* x, const void* dy, void* dw, void* workspace)> wgrad;
  /// Whether fprop takes geometries with more padding on one side than on the other; dgrad and wgrad take none.
  bool uneven_padding = false;
  std::optional<PreparedFilterKernels> prepared = {};
};

/// Whether the CPU's convolutions of 3 x 3, 1 x 7 ... at unit stride may run by Winograd's algorithm (default: they
/// do), which is faster and rounds a little more; see docs/numerics.md. Not to be called while kernels run.
void set_winograd_enabled(bool on);
bool winograd_enabled();

}  // namespace retort
