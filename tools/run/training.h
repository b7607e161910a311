// A training run, from its parts to the saved model.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/distill/trainer.h"
#include "tools/run/training_options.h"

namespace retort {

/// The two parts of the data; val is null where there is none.
struct TrainingData {
  std::shared_ptr<const Dataset> train, val;
  std::shared_ptr<const DataReading> reading = {};  ///< of the folder; null for sets that no folder gave
};
TrainingData open_training_data(const TrainingOptions& options, bool allow_unlabelled);

/// What a teacher adds to a run. With `teacher` null this is plain training on labels.
struct Guidance {
  std::unique_ptr<Teacher> teacher, val_teacher;
  Teacher* val = nullptr;  ///< val_teacher, or the live teacher itself
  HintSettings hints;      ///< no pairs: teacher_layers is empty, too
  std::vector<LayerReport> teacher_layers;
  DistillationSettings settings;
  ObjectiveSchedule schedule;
  Augmentation augmentation;
  std::int64_t views = 0;
  std::uint64_t view_seed = 0;
  std::optional<double> unlabelled_share;    ///< of a batch; none: that of the pictures
  std::string teacher_files;                 ///< FILE[,FILE...], where they were named; for the report
  std::vector<std::string> classes;          ///< of the teacher: they name the logits of an unlabelled set
  std::map<std::string, std::string> notes;  ///< for the model's metadata
  Fingerprint fingerprint;                   ///< the entries of the teacher and of the objective
};

/// What becomes of the training state that an earlier call left behind.
enum class Resume : std::uint8_t {
  never,      ///< it is removed: the command has no --resume
  on_demand,  ///< of a finished run it stays until the first checkpoint replaces it; that of a stopped one stops this
              ///< run
  demanded,   ///< --resume was given
  restart,    ///< --restart was given: it is removed
  always      ///< the command makes many runs: what is finished is read, the rest continues
};
/// Of a command that has --resume. Throws UsageError where both flags are given.
Resume resume_of(const RunOptions& options);

/// The files of one run. `model` ends in .safetensors; the others may be empty.
struct RunFiles {
  std::string model, log, report;
  bool keep_state = false;       ///< of a finished run
  std::string tensorboard = {};  ///< a folder; may be empty
  /// Beside the model: of the epoch that is best on validation, and the training state.
  std::string best() const;
  std::string state() const;
};
inline RunFiles files_of(const RunOptions& options) {
  return {options.out, options.log, options.report, options.keep_state, options.tensorboard};
}

/// A file and the flag that names it.
struct NamedFile {
  std::string flag, path;
};
/// Throws UsageError where two of the files that a command writes are one, or one of them is a file that it reads. An
/// empty path names none.
void check_outputs(const std::vector<NamedFile>& written, const std::vector<NamedFile>& read);
/// As above, for the files of a run.
void check_outputs(const RunFiles& files, const std::vector<NamedFile>& read);

/// Everything that a run needs. A list of it names the types of the lists within it: g++ 12 destroys what a nameless
/// one made twice, where a later initialiser throws.
struct TrainingRun {
  std::string architecture;  ///< or kGraph: of options.weights
  TrainingOptions options = {};
  RunFiles files;
  Resume resume = Resume::never;
  TrainingData data = {};
  Guidance guidance = {};
};

/// The network that the run trains: a packed set's pixels are measured, where nothing else says how to normalise them.
/// Throws what preprocessing_of throws.
ModelSpec describe(const TrainingRun& run);
/// Everything that determines the bits of a run on one device with as many threads, except its length: more epochs may
/// be asked for on resuming. With Resume::always finished runs are read, so there the length is an entry, too.
Fingerprint fingerprint_of(const TrainingRun& run, const ModelSpec& spec);

/// Throws Error naming a rank of the group that was started with other flags, data or another program than rank 0.
void check_ranks(const TrainingRun& run, const ModelSpec& spec);

/// Says how the pixels are normalised, where neither a flag nor a file does.
void say_normalisation(const TrainingRun& run, const ModelSpec& spec);

/// Outcome of a run, for --json and the demo.
struct TrainingOutcome {
  std::string model;
  std::string selected_model = {};  ///< a file; empty without validation data
  std::int64_t parameters = 0;
  nlohmann::ordered_json data = {};       ///< what was taken for what and passed over
  std::vector<EpochReport> history = {};  ///< of the epochs that ran now
  std::int64_t epochs_done = 0;
  std::int64_t selected_epoch = -1;
  double selected_accuracy = 0;
};

/// Trains, and writes the run's files. The length must be settled. Throws Interrupted after saving the state if the
/// user asked to stop.
TrainingOutcome run_training(const TrainingRun& run);

/// The outcome as one JSON object on stdout.
void print_outcome_json(const TrainingOutcome& outcome);

}  // namespace retort
