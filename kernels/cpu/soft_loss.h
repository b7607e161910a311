// Every soft term but plain KD's on the CPU (formulas: kernels/loss.h), in double.
#pragma once

#include "kernels/loss.h"

namespace retort::cpu {

/// Three arrays [rows, classes] of doubles and five [classes].
std::size_t soft_loss_workspace_bytes(Rows rows);

/// Returns the soft term and adds its gradient, times its weight, to dz (which may be null). `labels` are read where
/// soft_reads_labels(settings.loss). The bits do not depend on the number of threads.
double add_soft_loss(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, const float* z,
                     const float* v, float* dz, double* workspace);

}  // namespace retort::cpu
