// The oracle's optimizer steps (kernels/optimizer.h).
#pragma once

#include "kernels/optimizer.h"

namespace retort::reference {

template <class T>
void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars);
template <class T>
void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars);
std::size_t optimizer_workspace_bytes(ParameterSteps);
template <class T>
void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void*);
template <class T>
void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void*);

}  // namespace retort::reference
