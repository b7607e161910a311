#include "engine/distill/objective.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/tape.h"

namespace retort {

std::string soft_loss_words(bool without_labels) {
  std::vector<std::string> words;
  for (const SoftLossRow& row : kSoftLosses)
    if (!without_labels || !row.reads_labels) words.emplace_back(row.word);
  return alternatives(words);
}

std::string binary_trap(const DistillationSettings& settings, std::int64_t classes) {
  if (classes > 2) return {};
  if (settings.standardize)
    throw UsageError(
        "--standardize-logits: two standardised logits are always 0.71 and -0.71, so nothing can be learnt from them; "
        "leave it out");
  const SoftLossRow& row = row_of(settings.loss);
  if (*row.with_two_classes == 0) return {};
  return text("--loss ", row.word, ": with two classes ", row.with_two_classes);
}

double effective_hard_share(const DistillationSettings& settings) {
  const double t = settings.temperature;
  const double soft = weight_of_soft(settings) / (settings.convention == Convention::convex ? 1 : t * t);
  return settings.lambda + soft > 0 ? settings.lambda / (settings.lambda + soft) : 0;
}

GradientNorms gradient_norms(const Tensor& student, const Tensor& teacher, const Targets& targets,
                             const DistillationSettings& settings) {
  const auto mean_norm = [&](const DistillationSettings& part) {
    Tape tape;
    Tensor z = student.detached();
    z.require_grad();
    tape.backward(distillation_loss(z, teacher, targets, part).total);
    const Tensor dz = z.grad();
    const std::int64_t rows = dz.shape()[0], classes = dz.shape()[1];
    double sum = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* g = dz.data<float>() + row * classes;
      double squares = 0;
      for (std::int64_t i = 0; i < classes; ++i) squares += static_cast<double>(g[i]) * g[i];
      sum += std::sqrt(squares);
    }
    return sum;  // the loss is a mean: each row's gradient is already divided by the rows
  };
  DistillationSettings soft = settings;
  soft.lambda = 0;
  soft.soft_weight = weight_of_soft(settings);
  DistillationSettings hard = settings;
  hard.loss = SoftLoss::kd;
  hard.standardize = false;
  hard.soft_weight = 0;
  GradientNorms norms;
  if (settings.lambda > 0) norms.hard = mean_norm(hard);
  if (soft.soft_weight > 0) norms.soft = mean_norm(soft);
  return norms;
}

DistillationSettings settings_at(DistillationSettings settings, const ObjectiveSchedule& schedule, double epochs_done,
                                 double epochs) {
  if (schedule.soft_ramp > 0) settings.soft_weight *= std::min(1.0, epochs_done / schedule.soft_ramp);
  const auto on_line = [&](double from, double to) { return from + (to - from) * std::min(1.0, epochs_done / epochs); };
  if (schedule.temperature_end) settings.temperature = on_line(settings.temperature, *schedule.temperature_end);
  if (schedule.lambda_end) settings.lambda = on_line(settings.lambda, *schedule.lambda_end);
  return settings;
}

}  // namespace retort
