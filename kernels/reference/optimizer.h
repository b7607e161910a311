// The oracle's optimizer steps (kernels/optimizer.h).
#pragma once

#include "kernels/optimizer.h"

namespace retort::reference {

template <class T>
void sgd(Stream, std::int64_t n, const SgdSettings& settings, const StepScalars* scalars, void* w, const void* g,
         void* m);

template <class T>
void adam(Stream, std::int64_t n, const AdamSettings& settings, const StepScalars* scalars, void* w, const void* g,
          void* m, void* v);

template <class T>
void add_sum_of_squares(Stream, std::int64_t n, const void* x, double* sum);

}  // namespace retort::reference
