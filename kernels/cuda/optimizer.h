// Optimizer steps for CUDA and the simulator (contract: kernels/optimizer.h).
#pragma once

#include "kernels/cuda/backend.h"
#include "kernels/optimizer.h"

namespace retort::RETORT_BACKEND {

void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars);
void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars);
std::size_t optimizer_workspace_bytes(ParameterSteps);
void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void* workspace);
void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void* workspace);

}  // namespace retort::RETORT_BACKEND
