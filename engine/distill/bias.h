// The bias correction of Hinton et al. (arXiv 1503.02531, section 3): a student that never saw a class ranks it too
// low, and one number added to the class's logit makes up for it.
#pragma once

#include <vector>

#include "engine/core/tensor.h"

namespace retort {

struct Shift {
  double value = 0;  ///< to add to the classes' logits
  std::int64_t errors_before = 0, errors = 0;
};

/// The one shift of all logits in `classes` that leaves the fewest errors, found exactly: a sample's prediction changes
/// once, at its margin, so only the margins matter. Of equal choices the one nearest to 0, in the middle between two
/// margins. logits f32 [n, classes], labels i64 [n]. Throws Error where `classes` is empty, or holds every class.
Shift best_shift(const Tensor& logits, const Tensor& labels, const std::vector<std::int64_t>& classes);

}  // namespace retort
