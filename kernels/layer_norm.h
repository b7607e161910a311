// Layer normalisation over the last axis (Ba, Kiros & Hinton, arXiv 1607.06450): each row of x [rows, channels] about
// its own mean, over its own deviation.
//
//   h = (x - mean) r,  r = 1 / sqrt(variance + eps), the variance the mean square about the mean;  y = gamma h + beta
//   dx = r (g - mean of g - h mean of (g h)),  g = gamma dy;   dgamma = sum over rows of dy h,  dbeta = of dy
#pragma once

#include "kernels/types.h"

namespace retort {

struct LayerNormGeometry {
  std::int64_t rows = 1, channels = 1;
  double eps = 1e-5;
};

struct LayerNormKernels {
  /// mean and inv_std are [rows], of the parameters' dtype: what backward needs.
  Required<void(Stream, const LayerNormGeometry&, const void* x, const void* gamma, const void* beta, void* y,
                void* mean, void* inv_std)>
      forward;
  /// dx may be dy.
  Required<void(Stream, const LayerNormGeometry&, const void* x, const void* gamma, const void* mean,
                const void* inv_std, const void* dy, void* dx)>
      backward_input;
  Required<std::size_t(const LayerNormGeometry&)> backward_parameters_workspace_bytes;
  Required<void(Stream, const LayerNormGeometry&, const void* x, const void* mean, const void* inv_std, const void* dy,
                void* dgamma, void* dbeta, void* workspace)>
      backward_parameters;
};

}  // namespace retort
