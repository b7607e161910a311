// Which kernels an op calls: the table in use for a dtype on a device, a swap of it, and scratch memory for one call.
#pragma once

#include <cstddef>
#include <optional>

#include "engine/core/arena.h"
#include "engine/core/tensor.h"
#include "kernels/table.h"

namespace retort {

/// The kernels in use for a dtype on a device: kernels_for's, unless ScopedKernels says otherwise. Throws Error for an
/// integer dtype, and what kernels_for throws.
const KernelTable& kernels(DType dtype, Device device = Device::cpu);
inline const KernelTable& kernels(const Tensor& tensor) { return kernels(tensor.dtype(), tensor.device()); }

/// Swaps the table of one dtype on one device while it lives: how a researcher tries a kernel in a real step.
class ScopedKernels {
 public:
  ScopedKernels(DType dtype, const KernelTable& table, Device device = Device::cpu);
  ~ScopedKernels();
  ScopedKernels(const ScopedKernels&) = delete;
  ScopedKernels& operator=(const ScopedKernels&) = delete;

 private:
  const KernelTable** current_;  ///< where the swapped table is named
  const KernelTable* previous_;  ///< null: kernels_for's
};

/// Scratch memory for one kernel call, from the device's arena. Empty for 0 bytes.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes, Device device = Device::cpu) {
    if (bytes) block_.emplace(device, bytes);
  }
  void* data() const { return block_ ? block_->data() : nullptr; }

 private:
  std::optional<MemoryBlock> block_;
};

}  // namespace retort
