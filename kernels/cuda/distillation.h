// How a file of kernels hands on one kind of distillation loss: loss.cu puts the kinds together, the ladder replaces
// one.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/loss.h"

namespace retort::RETORT_BACKEND {

/// Entries as LossKernels has them.
struct DistillationKernel {
  decltype(LossKernels::workspace_bytes) workspace_bytes;
  decltype(LossKernels::distillation) run;
};

}  // namespace retort::RETORT_BACKEND
