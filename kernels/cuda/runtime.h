// Calls of CUDA's runtime, each checked.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace retort::cuda {

/// Throws std::runtime_error "<what>: <CUDA's text>" unless the call went well; `what` is the call or the kernel.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("cuda: ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace retort::cuda
