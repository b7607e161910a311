#include "engine/core/kernels.h"

#include <utility>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr int kDevices = 4, kDtypes = 3;

/// The table that a ScopedKernels put in place for a dtype on a device; null where there is none.
const KernelTable*& swapped_table(DType dtype, Device device) {
  static const KernelTable* tables[kDevices][kDtypes] = {};
  check(dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16, "[kernels] ", to_string(dtype),
        " has no kernels; compute in f32, f64 or bf16");
  return tables[static_cast<int>(device)][dtype == DType::f32 ? 0 : dtype == DType::f64 ? 1 : 2];
}

}  // namespace

const KernelTable& kernels(DType dtype, Device device) {
  const KernelTable* const swapped = swapped_table(dtype, device);
  return swapped ? *swapped : kernels_for(device, dtype);
}

ScopedKernels::ScopedKernels(DType dtype, const KernelTable& table, Device device)
    : current_(&swapped_table(dtype, device)), previous_(std::exchange(*current_, &table)) {}

ScopedKernels::~ScopedKernels() { *current_ = previous_; }

}  // namespace retort
