// Products of many matrices, a pair of them for each head of each image. See kernels/matmul.h.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// Where the heads of a tensor lie.
enum class Heads : std::uint8_t {
  apart,       ///< [n, heads, rows, columns]
  in_channels  ///< [n, rows, heads * columns]: side by side in each row
};

struct MatmulOptions {
  std::int64_t heads = 1;
  Heads a = Heads::apart, b = Heads::apart, y = Heads::apart;
  bool transpose_a = false, transpose_b = false;
};

/// op(a) op(b) of each head. Saves both. Throws Error where the shapes do not fit.
Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options);

}  // namespace retort
