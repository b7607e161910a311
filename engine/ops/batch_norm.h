// Batch normalisation over all axes but the last, with an optional residual and ReLU. See kernels/batch_norm.h.
#pragma once

#include <optional>

#include "engine/core/tensor.h"

namespace retort {

struct BatchNormOptions {
  bool training = true;   ///< batch statistics, and the running ones move; else running statistics
  double momentum = 0.1;  ///< weight of the batch in the running statistics
  double eps = 1e-5;
  bool relu = false;
  /// In training, of the rows of all ranks of the group, this rank's: statistics are of all those rows. Every rank
  /// calls the op, and its backward, in the same order. Empty: statistics of x alone.
  std::optional<double> share = {};
};

/// x [..., c]; gamma, beta, running_mean, running_var [c]; residual of x's shape or empty -> x's shape.
/// Saves x, the two statistics vectors, and y if relu. Throws Error on other shapes, or when training on one row.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean, Tensor& running_var,
                  const BatchNormOptions& options, const Tensor& residual = {});

}  // namespace retort
