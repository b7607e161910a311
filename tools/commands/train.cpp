// retort train: trains a model on labels.
#include "tools/commands/train.h"

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "tools/commands/commands.h"
#include "tools/run/recipe.h"

namespace retort {

TrainingRun make_run(const TrainOptions& options) {
  TrainingOptions training = options.training;
  const bool first = begin_shared(training.common);
  const std::string model = network_to_train("--model", options.model, training);
  validate(training);
  const RunFiles files = files_of(options.run);
  check_outputs(
      files,
      {{"--weights", training.weights}, {"--warm-start", training.warm_start}, {"--cache", training.data.cache}});
  if (first) check_writable(files.model);
  TrainingRun run{.architecture = model,
                  .options = training,
                  .files = files,
                  .resume = resume_of(options.run),
                  .data = open_training_data(training, /*allow_unlabelled=*/false)};
  settle_length(run);
  run.guidance.augmentation = augmentation_of(training, *run.data.train);
  run.guidance.view_seed = training.common.seed;
  // A run that a teacher taught is another one.
  run.guidance.fingerprint["--logits"] = run.guidance.fingerprint["--teacher"] = "";
  return run;
}

void add_train_command(CLI::App& app) {
  add_command<TrainOptions>(app, "train", "Trains a model on labels", [](const TrainOptions& options) {
    CountedRun counted(options.run.counters, compute_device(options.training.common));
    const TrainingOutcome outcome = run_training(make_run(options));
    counted.write();
    if (options.training.common.json) print_outcome_json(outcome);
  });
}

}  // namespace retort
