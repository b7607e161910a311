#include "tools/run/training_options.h"

#include <algorithm>

#include "engine/core/check.h"

namespace retort {

std::string default_lrs() {
  std::string list;
  for (const OptimizerRow& row : kOptimizers) list += text(list.empty() ? "" : ", ", row.default_lr, " for ", row.word);
  return list;
}

double lr_of(const TrainingOptions& options) {
  const auto row = std::ranges::find(kOptimizers, options.optimizer, &OptimizerRow::value);
  return options.lr.value_or(row->default_lr);
}

Allowed recalibration_words() {
  return Allowed([](const std::string& word) -> std::string {
    if (word == kAutomatic || word == "off" || whole_number(1).refusal(word).empty()) return {};
    return text("'", word, "' is not allowed; give off, auto or a number of pictures");
  });
}

RecalibrationSettings recalibration_of(const TrainingOptions& options) {
  RecalibrationSettings settings;
  if (options.bn_recalibrate == kAutomatic) return settings;
  if (options.bn_recalibrate == "off") return {.when = RecalibrationSettings::When::off};
  return {.when = RecalibrationSettings::When::always, .pictures = std::stoll(options.bn_recalibrate)};
}

void validate(const TrainingOptions& options) {
  if (!options.milestones.empty() && options.schedule != ScheduleKind::step)
    throw UsageError("--milestones: go with --schedule step");
  if (options.no_norm_decay && options.weight_decay == 0)
    throw UsageError("--no-norm-decay: there is no decay without --weight-decay");
  if (options.warmup_epochs > static_cast<double>(options.epochs))
    throw UsageError(
        text("--warmup-epochs: ", options.warmup_epochs, " is not allowed; give a number from 0 to --epochs"));
  if (options.nesterov && (options.optimizer != OptimizerKind::sgd || options.momentum == 0))
    throw UsageError("--nesterov: needs --optimizer sgd with a --momentum above 0");
}

}  // namespace retort
