// DIST on the CPU: the soft term that looks along the batch too.
#pragma once

#include "kernels/loss.h"

namespace retort::cpu {

/// Two arrays [rows, classes] of floats, both nets' probabilities, and what is kept of each class.
std::size_t dist_loss_workspace_bytes(Rows rows);

/// Returns the soft term of the batch and adds its gradient, times its weight, to dz (which may be null). The bits do
/// not depend on the number of threads.
double add_dist_loss(Rows rows, const DistillationSettings& settings, const float* z, const float* v, float* dz,
                     void* workspace);

}  // namespace retort::cpu
