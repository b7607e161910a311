// The objective of a distillation: losses by name, what two classes take from them, the weights of its parts and how
// they change in a run.
#pragma once

#include <optional>
#include <string>

#include "engine/ops/loss.h"

namespace retort {

/// The words of kSoftLosses as a list, "kd, mse ... or wttm"; on request only the losses that read no labels.
std::string soft_loss_words(bool without_labels = false);

/// With two classes some losses lose what sets them apart: there is one class beside the right one, and a standardised
/// row has one shape. Returns what is lost, starting with the flag, or nothing. Throws UsageError for standardised
/// logits, which leave no gradient.
std::string binary_trap(const DistillationSettings& settings, std::int64_t classes);

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
