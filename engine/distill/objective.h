// The objective of a distillation: its losses by name, what a word of warning is due for, and its shares.
#pragma once

#include <optional>
#include <string>

#include "engine/ops/loss.h"

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

/// Mean over the rows of the Euclidean norm of each part's gradient with respect to the student's logits, its weight in
/// the loss included.
struct GradientNorms {
  double hard = 0, soft = 0;
};
/// student and teacher f32 [n, classes] on the CPU. Throws what distillation_loss throws.
GradientNorms gradient_norms(const Tensor& student, const Tensor& teacher, const Targets& targets,
                             const DistillationSettings& settings);

/// What changes in the loss while a run goes on.
struct ObjectiveSchedule {
  double soft_ramp = 0;                        ///< epochs over which the soft term's weight rises from 0; 0: none
  std::optional<double> temperature_end = {};  ///< the temperature goes to this in a straight line, over all epochs
  std::optional<double> lambda_end = {};       ///< and lambda to this
  bool any() const { return soft_ramp > 0 || temperature_end || lambda_end; }
};

/// The settings after `epochs_done` of `epochs`: soft_weight times min(1, epochs_done / soft_ramp), temperature and
/// lambda on their lines.
DistillationSettings settings_at(DistillationSettings settings, const ObjectiveSchedule& schedule, double epochs_done,
                                 double epochs);

}  // namespace retort
