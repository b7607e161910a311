// The backends that a benchmark can set side by side, by the names of --backend.
#pragma once

#include <string>
#include <vector>

#include "engine/core/kernels.h"
#include "engine/core/random.h"

namespace retort {

/// A table, and where and on what its kernels work.
struct Backend {
  std::string name;          ///< as --backend has it
  const KernelTable* table;  ///< of dtype
  Device device;             ///< of its buffers
  DType dtype;               ///< of activations
  std::string precision;     ///< "fp32", "tf32" or "bf16"
};

/// What is measured: NVIDIA's libraries have a part of it.
enum class Subject : std::uint8_t { conv, gemm, softmax, loss, step };

/// The backends of --backend's names at --precision's. For conv, cudnn's filters lie as the library wants them; in a
/// step it also converts them, and cuBLAS does the matrix products. Throws UsageError for a name or precision that does
/// not exist, or not for this subject or on this machine.
std::vector<Backend> find_backends(const std::vector<std::string>& names, const std::string& precision,
                                   Subject subject);

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
