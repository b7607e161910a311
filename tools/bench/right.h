// Whether a backend computes what it should: a benchmark's inputs, computed by the double reference too.
//
// Each function gives the largest error of a result over what the backend's arithmetic promises of it, by the bounds of
// the tests (tests/cases): right up to 1, infinite where an element is NaN or was not written.
#pragma once

#include <cstdint>

#include "tools/run/backends.h"

namespace retort {

double conv_error(ConvPass pass, const Conv2dGeometry& g, const Backend& backend, std::uint64_t seed);
double gemm_error(const GemmGeometry& g, const Backend& backend, std::uint64_t seed);
double softmax_error(Rows rows, double temperature, bool backward, const Backend& backend, std::uint64_t seed);
/// Under `settings`, or cross-entropy alone; the labels are as `retort bench loss` has them.
double distillation_error(Rows rows, const DistillationSettings& settings, const Backend& backend, std::uint64_t seed);
double cross_entropy_error(Rows rows, const Backend& backend, std::uint64_t seed);

}  // namespace retort
