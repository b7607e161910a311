// The oracle's soft terms but plain KD's (formulas: kernels/loss.h). Each is written as a function of probabilities,
// its derivative by them follows, and one softmax backward serves all; the closed forms of the header are not used.
#pragma once

#include <vector>

#include "kernels/loss.h"

namespace retort::reference {

/// The mean soft term of z, v [rows, classes]; dz [rows, classes] receives its gradient.
double soft_loss(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, std::vector<double> z,
                 std::vector<double> v, std::vector<double>& dz);

}  // namespace retort::reference
