// Optimizer steps on the CPU, f32 (contract: kernels/optimizer.h). add_sum_of_squares adds a fixed number of partial
// sums in double: the same bits whatever the number of threads.
#pragma once

#include "kernels/optimizer.h"

namespace retort::cpu {

void sgd(Stream, std::int64_t n, const SgdSettings& settings, const StepScalars* scalars, void* w, const void* g,
         void* m);
void adam(Stream, std::int64_t n, const AdamSettings& settings, const StepScalars* scalars, void* w, const void* g,
          void* m, void* v);
void add_sum_of_squares(Stream, std::int64_t n, const void* x, double* sum);

}  // namespace retort::cpu
