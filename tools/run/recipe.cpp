#include "tools/run/recipe.h"

#include <algorithm>

#include "tools/cli/progress.h"

namespace retort {
namespace {

/// The flags of training that depart from the defaults, --epochs and --augment aside, as on a command line.
std::string departures(TrainingOptions options) {
  TrainingOptions defaults;
  defaults.optimizer = options.optimizer;  // its numbers are its own
  Fingerprint asked, usual;
  visit_flags(options, PrintFlags{.fingerprint = asked});
  visit_flags(defaults, PrintFlags{.fingerprint = usual});
  std::string list;
  if (options.optimizer != TrainingOptions{}.optimizer) list = text(" --optimizer ", asked.at("--optimizer"));
  for (const auto& [flag, value] : asked)
    if (usual.at(flag) != value) list += text(" ", flag, value == "on" ? "" : " " + value);
  return list;
}

}  // namespace

Augmentation default_augmentation(const Dataset& dataset) {
  Augmentation augmentation;
  if (dataset.native_channels() == 1)
    augmentation.jitter = true;
  else
    augmentation.crop = augmentation.flip = true;
  return augmentation;
}

Augmentation augmentation_of(const TrainingOptions& options, const Dataset& dataset) {
  return options.augment ? parse_augmentation(*options.augment) : default_augmentation(dataset);
}

void settle_length(TrainingRun& run) { run.options.epochs = epochs_of(run.options, run.data.train->size()); }

void say_recipe(const TrainingRun& run) {
  const TrainingOptions& options = run.options;
  const std::string others = departures(options);
  say(options.common.quiet,
      text("recipe: ", one_of(kOptimizers).word_of(options.optimizer), ", learning rate ", lr_of(options),
           ", weight decay ", weight_decay_of(options), ", ", one_of(kSchedules).word_of(options.schedule), ", ",
           *options.epochs, *options.epochs == 1 ? " epoch" : " epochs", ", augmentation ",
           format_augmentation(run.guidance.augmentation),
           others.empty() ? "; the default" : "; other than the default:" + others));
}

}  // namespace retort
