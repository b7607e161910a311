// What `train` and `distill` share: their flags, and the run itself from data to the saved model.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/distill/trainer.h"
#include "tools/cli/options.h"

namespace retort {

struct TrainingOptions {
  CommonOptions common;
  DataOptions data;
  std::string out, weights, log, report;
  std::int64_t epochs = 10, batch_size = 32, early_stop = 0, checkpoint_every = 1;
  std::string optimizer = "sgd", schedule = "cosine", precision = "fp32";
  std::optional<double> lr, dropout;
  std::optional<std::string> augment;
  double momentum = 0.9, weight_decay = 0, warmup_epochs = 0, label_smoothing = 0, mixup = 0, max_norm = 0;
  bool nesterov = false, resume = false, auxiliary = false;
  bool always_resume = false;  ///< set by commands of many runs, which have no --resume
  bool starts_over = false;    ///< set by a command that neither resumes nor has --resume
  std::vector<std::string> freeze;
};

void add_training_options(CLI::App& command, TrainingOptions& options);
/// Throws UsageError naming the first flag out of its range.
void validate(const TrainingOptions& options);

/// The two parts of the data; val is null where there is none.
struct TrainingData {
  std::shared_ptr<const Dataset> train, val;
};
TrainingData open_training_data(const TrainingOptions& options, bool allow_unlabelled);

/// What a teacher adds to a run. With `teacher` null this is plain training on labels.
struct Guidance {
  std::unique_ptr<Teacher> teacher, val_teacher;
  Teacher* val = nullptr;  ///< val_teacher, or the live teacher itself
  DistillationSettings settings;
  ObjectiveSchedule schedule;
  Augmentation augmentation;
  std::int64_t views = 0;
  std::uint64_t view_seed = 0;
  std::vector<std::string> classes;          ///< of the teacher: they name the logits of an unlabelled set
  std::map<std::string, std::string> notes;  ///< for the model's metadata
  Fingerprint fingerprint;
};

/// Outcome of a run, for --json and the demo.
struct TrainingOutcome {
  std::string model, selected_model;  ///< files; the second is empty without validation data
  std::int64_t parameters = 0;
  std::vector<EpochReport> history;  ///< of the epochs that ran now
  std::int64_t selected_epoch = -1;
  double selected_accuracy = 0;
};

/// Trains `architecture` and writes --out, FILE.best.safetensors, FILE.state.safetensors and the log. Throws
/// Interrupted after saving the state if the user asked to stop.
TrainingOutcome run_training(const TrainingOptions& options, const std::string& architecture, const TrainingData& data,
                             Guidance guidance);

/// The outcome as one JSON object on stdout.
void print_outcome_json(const TrainingOutcome& outcome);

}  // namespace retort
