// Cross-entropy and the fused distillation loss on the CPU: f32 in and out (contract: kernels/loss.h), vectors of
// floats inside, sums of rows and logarithms in double (docs/numerics.md).
//
// A row is read from memory once; the passes after the first find it in L1.
#pragma once

#include "kernels/loss.h"

namespace retort::cpu {

std::size_t loss_workspace_bytes(Rows);
void cross_entropy(Stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz, void*);
void distillation(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
                  const void* v, void* loss, void* dz, void*);

}  // namespace retort::cpu
