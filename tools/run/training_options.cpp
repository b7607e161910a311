#include "tools/run/training_options.h"

#include <algorithm>

#include "engine/core/check.h"

namespace retort {

double lr_of(const TrainingOptions& options) {
  const auto row = std::ranges::find(kOptimizers, options.optimizer, &OptimizerRow::value);
  return options.lr.value_or(row->default_lr);
}

void validate(const TrainingOptions& options) {
  if (options.warmup_epochs > static_cast<double>(options.epochs))
    throw UsageError(
        text("--warmup-epochs: ", options.warmup_epochs, " is not allowed; give a number from 0 to --epochs"));
  if (options.nesterov && (options.optimizer != OptimizerKind::sgd || options.momentum == 0))
    throw UsageError("--nesterov: needs --optimizer sgd with a --momentum above 0");
}

}  // namespace retort
