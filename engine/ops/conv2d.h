// Convolution, with an optional bias and ReLU folded in; in inference also what else follows it. See kernels/conv2d.h
// for the formula.
#pragma once

#include <limits>

#include "engine/core/tensor.h"
#include "engine/ops/prepared_filters.h"

namespace retort {

struct Conv2dOptions {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  bool relu = false;
  std::int64_t more_below = 0,
               more_right = 0;  ///< padding beyond pad_h and pad_w there, at least 0: conv2d_inference alone
};

/// x [n, h, w, c], weight [r, s, c / groups, k], bias [k] or empty -> [n, p, q, k].
/// Saves x if weight requires a gradient, and y if relu. Throws Error if the shapes do not fit, or the (padded) image
/// is smaller than the filter.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options);

/// What batch_norm takes for evaluation, all [k].
struct RunningNorm {
  const Tensor &gamma, &beta, &running_mean, &running_var;
  double eps;
};

/// What follows a convolution in inference, each part optional.
struct ConvTail {
  const RunningNorm* norm = nullptr;
  Tensor residual = {};                                    ///< of the result's shape
  float ceiling = std::numeric_limits<float>::infinity();  ///< of options.relu, above 0
};

/// act(batch_norm(conv2d(x, weight, bias)) + residual) with running statistics, act(x) = min(max(0, x), ceiling) if
/// options.relu: one kernel, in which the normalisation is a multiply-add on the convolution's sums. `filters`, where
/// there are any, gives the weight as the kernel likes it best. For inference: it records no gradient, and throws Error
/// where one is asked for.
Tensor conv2d_inference(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                        const ConvTail& tail, PreparedFilters* filters = nullptr);

}  // namespace retort
