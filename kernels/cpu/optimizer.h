// Optimizer steps on the CPU, f32 (contract: kernels/optimizer.h). clip adds a fixed number of partial
// sums in double: the same bits whatever the number of threads.
#pragma once

#include "kernels/optimizer.h"

namespace retort::cpu {

void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars);
void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars);
std::size_t optimizer_workspace_bytes(ParameterSteps);
void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void*);
void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void*);

}  // namespace retort::cpu
