// Calls of CUDA's runtime, each checked.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "kernels/types.h"

namespace retort::cuda {

/// Throws std::runtime_error "<what>: <CUDA's text>" unless the call went well; `what` is the call or the kernel.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("cuda: ") + what + ": " + cudaGetErrorString(status));
}

/// A function of CUDA's driver, or null if the driver has none of that name.
template <class Function>
Function* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  check(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result), name);
  return reinterpret_cast<Function*>(found);
}

/// The CUDA stream behind a Stream; null is the backend's own, which can be captured (CUDA's default stream cannot).
cudaStream_t native(Stream stream);

}  // namespace retort::cuda
