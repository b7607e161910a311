// Kernels that a run computes with in place of its device's own: --backend, a whole table, and --kernel, one entry.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/core/kernels.h"
#include "tools/run/backends.h"

namespace retort {

/// The flags of it.
struct KernelChoice {
  std::string backend;               ///< as find_backend has it; empty: the device's own
  std::vector<std::string> kernels;  ///< ENTRY=NAME, conv2d.fprop=conv2d.3_registers
};

inline constexpr const char* kKernelHelp =
    "One kernel from another table, ENTRY=NAME, e.g. conv2d.fprop=conv2d.3_registers or gemm.run=reference";

/// The table of `base` with the kernels that `choices` name, ENTRY=NAME each, in place of its own. An entry brings its
/// workspace. Throws UsageError for an entry of which no other kernel is there, a name that does not exist, a kernel of
/// another device or element type, and a name that has the same kernel there as `base`.
KernelTable with_kernels(const Backend& base, const std::vector<std::string>& choices);

/// The kernels of a choice, in use while it lives: those of the ops that compute in `dtype` on the device. Throws
/// UsageError as with_kernels and find_backend do, and for a backend of another device or element type.
class ChosenKernels {
 public:
  ChosenKernels(const KernelChoice& choice, Device device, DType dtype);

 private:
  std::optional<KernelTable> table_;  ///< none: nothing was chosen
  std::optional<ScopedKernels> scope_;
};

}  // namespace retort
