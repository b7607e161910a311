// The oracle's cross-entropy and distillation loss (kernels/loss.h), through log-softmax in double.
#pragma once

#include "kernels/loss.h"

namespace retort::reference {

std::size_t loss_workspace_bytes(Rows);
template <class T>
void cross_entropy(Stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz, void*);

template <class T>
void distillation(Stream, Rows rows, const DistillationSettings& settings, const HardTargets& targets, const void* z,
                  const void* v, void* loss, void* dz, void*);

}  // namespace retort::reference
