// Kernel tables by the names of --backend, for benchmarks and for training.
#pragma once

#include <string>

#include "kernels/table.h"

namespace retort {

/// A table, and where and on what its kernels work.
struct Backend {
  std::string name;          ///< as --backend has it
  const KernelTable* table;  ///< of dtype
  Device device;             ///< of its buffers
  DType dtype;               ///< of activations
  std::string precision;     ///< "fp32", "tf32" or "bf16"
};

/// What the kernels are for: NVIDIA's libraries have a part of it.
enum class Subject : std::uint8_t { conv, gemm, softmax, loss, step };

/// The backend of one of --backend's names at --precision's. For conv, cudnn's filters lie as the library wants them;
/// in a step it also converts them, and cuBLAS does the matrix products. `flag` is where the name was given. Throws
/// UsageError for a name or precision that does not exist, or not for this subject or on this machine.
Backend find_backend(const char* flag, const std::string& name, const std::string& precision, Subject subject);

}  // namespace retort
