// The soft terms of single rows on the CPU, all but plain KD's and DIST's (formulas: kernels/loss.h), in vectors of
// floats as plain KD is.
#pragma once

#include "kernels/loss.h"

namespace retort::cpu {

/// Returns one row's soft term and adds its gradient, times its weight in the mean over `rows`, to the row of dz (which
/// may be null). z, v and dz are the whole batch's. `labels` are read where soft_reads_labels(settings.loss); `kept` is
/// room for three rows.
double add_soft_row(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, std::int64_t row,
                    const float* z, const float* v, float* dz, float* kept);

}  // namespace retort::cpu
