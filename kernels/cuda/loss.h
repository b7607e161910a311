// Losses for CUDA and the simulator (contract: kernels/loss.h); sums in float within a row, in double over rows. T is
// float or BFloat16.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/loss.h"

namespace retort::RETORT_BACKEND {

std::size_t loss_workspace_bytes(Rows);
template <class T>
void cross_entropy(Stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz, void* workspace);

template <class T>
void distillation(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
                  const void* v, void* loss, void* dz, void* workspace);

}  // namespace retort::RETORT_BACKEND
