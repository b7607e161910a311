// The soft terms beside plain KD, for CUDA and the simulator (contract: kernels/loss.h): mse, dkd, nkd, ttm and wttm,
// kd on standardised logits (soft_loss.cu), and dist (dist_loss.cu). Each makes the whole loss, the labels' part too.
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/loss.h"

namespace retort::RETORT_BACKEND {

/// Of all of them.
std::size_t soft_loss_workspace_bytes(Rows rows);
template <class T>
void soft_loss(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
               const void* v, void* loss, void* dz, void* workspace);

std::size_t dist_loss_workspace_bytes(Rows rows);
template <class T>
void dist_loss(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
               const void* v, void* loss, void* dz, void* workspace);

}  // namespace retort::RETORT_BACKEND
