// The objective of a distillation: its losses by name, what a word of warning is due for, and its shares.
#pragma once

#include <string>

#include "kernels/loss.h"

namespace retort {

/// kd, mse, dkd, nkd, dist, ttm or wttm. Throws UsageError for another word.
SoftLoss parse_soft_loss(const std::string& word);

/// With two classes some losses lose what sets them apart (there is one class beside the right one, and one shape a
/// standardised row can have). Returns what is lost, starting with the flag, or nothing. Throws UsageError where no
/// gradient to speak of is left: standardised logits.
std::string binary_trap(const DistillationSettings& settings, const std::string& word, std::int64_t classes);

/// Share of the hard term in the gradient of plain kd at start, in [0, 1]: h / (h + s) with h = lambda and, under
/// convex, s = w (T^2 makes up for the softening), under additive s = w / T^2; w is weight_of_soft(settings).
double effective_hard_share(const DistillationSettings& settings);

/// The settings in an epoch of a run that ramps up the soft term over its first `ramp` epochs: soft_weight times
/// min(1, epochs_done / ramp); 0 ramps nothing.
DistillationSettings ramped(DistillationSettings settings, double ramp, double epochs_done);

}  // namespace retort
