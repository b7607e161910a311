// Windows of images, and factors of channels: padding, cropping, squeeze-and-excitation, position embeddings.
#pragma once

#include "kernels/types.h"

namespace retort {

/// y[n, i, j, c] = x[n, i - top, j - left, c] where that is inside x, else `fill`; x is [n, h, w, c], y [n, p, q, c].
/// top and left pad if they are above 0, and crop below. The gradient is the window back: top and left negated, x and y
/// exchanged, fill 0.
struct WindowGeometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1;
  std::int64_t p = 1, q = 1;
  std::int64_t top = 0, left = 0;
  double fill = 0;
};

/// Images [n, pixels, channels] beside factors [n, channels]. With pixels = 1 it is a product of equals.
struct FactorGeometry {
  std::int64_t n = 1, pixels = 1, channels = 1;
};

struct SpatialKernels {
  Required<void(Stream, const WindowGeometry&, const void* x, void* y)> window;
  /// y[n, i, c] = x[n, i, c] s[n, c]
  Required<void(Stream, const FactorGeometry&, const void* x, const void* s, void* y)> multiply;
  /// y[n, i, c] = x[n, i, c] + s[n, c]
  Required<void(Stream, const FactorGeometry&, const void* x, const void* s, void* y)> add;
  /// y[n, c] = sum over i of a[n, i, c] b[n, i, c]; the gradient of s.
  Required<void(Stream, const FactorGeometry&, const void* a, const void* b, void* y)> multiply_sum;
};

}  // namespace retort
