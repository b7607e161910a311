// What benchmarks need of a device besides its kernels: buffers to work on, and what it can do at most.
#pragma once

#include <string>

#include "engine/core/random.h"
#include "engine/core/tensor.h"

namespace retort {

/// Normally distributed elements. Beyond about a million they repeat.
Tensor random_tensor(const Shape& shape, DType dtype, Device device, double std, Random random);

/// What a CUDA device can do, measured: a large copy, and a large matrix product at a precision.
struct DeviceLimits {
  std::string name;
  double bandwidth = 0;      ///< byte/s, read + written
  double peak_flops = 0;     ///< flop/s
  std::string peak_backend;  ///< whose product: cuBLAS's where it can be used, else ours
};
/// Measured once for each precision.
const DeviceLimits& cuda_limits(const std::string& precision);

}  // namespace retort
