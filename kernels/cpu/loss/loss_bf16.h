// Losses of logits in bf16 on the CPU: converted to f32 and back, as they are few (contract: kernels/loss.h). The
// trainer never asks: it converts logits first.
#pragma once

#include "kernels/loss.h"

namespace retort::cpu {

std::size_t loss_workspace_bytes_bf16(Rows);
void cross_entropy_bf16(Stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz,
                        void* workspace);
void distillation_bf16(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets,
                       const void* z, const void* v, void* loss, void* dz, void* workspace);

}  // namespace retort::cpu
