// retort train: trains a model on labels.
#include "engine/core/check.h"
#include "engine/io/file.h"
#include "tools/commands/commands.h"
#include "tools/run/training.h"

namespace retort {
namespace {

struct Options : TrainingOptions {
  std::string model;
};

void run(const Options& options) {
  apply_common_options(options.common);
  validate(options);
  if (!is_architecture(options.model))
    throw UsageError(text("--model: '", options.model,
                          "' is no architecture; `train` takes one such as resnet50, and "
                          "--weights FILE to start from a file"));
  check_writable(options.out);
  const TrainingData data = open_training_data(options, /*allow_unlabelled=*/false);
  Guidance labels_alone;
  labels_alone.augmentation = parse_augmentation(options.augment.value_or("none"));
  labels_alone.view_seed = options.common.seed;
  const TrainingOutcome outcome = run_training(options, options.model, data, std::move(labels_alone));
  if (options.common.json) print_outcome_json(outcome);
}

}  // namespace

void add_train_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Trains a model on labels");
  command->add_option("--model", options->model, "Architecture, e.g. vgg16, resnet50, inception_v3, mlp:800x800")
      ->required();
  add_training_options(*command, *options);
  command->callback([options] { run(*options); });
}

}  // namespace retort
