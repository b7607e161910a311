// Pooling over NHWC images. See kernels/pool.h for the windows.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

struct Pool2dGeometry;

struct PoolOptions {
  std::int64_t kernel = 2, stride = 2, pad = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< average only
};

/// The windows over images [n, h, w, c]. Throws Error, which begins with [op], where they are none.
Pool2dGeometry pool_geometry(const char* op, const Shape& images, const PoolOptions& options);

/// Throws Error if the padded image is smaller than the window. Saves the index of each maximum (int32).
Tensor max_pool(const Tensor& x, const PoolOptions& options);
/// Saves nothing.
Tensor average_pool(const Tensor& x, const PoolOptions& options);
/// [n, h, w, c] -> [n, p, q, c]; p = q = 1 is global average pooling. Saves nothing.
Tensor adaptive_average_pool(const Tensor& x, std::int64_t p, std::int64_t q);

}  // namespace retort
