// The training loop, with labels alone or with a teacher.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/core/check.h"
#include "engine/data/loader.h"
#include "engine/distill/objective.h"
#include "engine/distill/recalibrate.h"
#include "engine/distill/teacher.h"
#include "engine/distill/training_state.h"
#include "engine/distill/training_step.h"
#include "engine/nn/ema.h"
#include "engine/nn/module.h"
#include "engine/nn/optimizer.h"
#include "engine/nn/schedule.h"
#include "engine/ops/loss.h"

namespace retort {

struct TrainSettings {
  std::int64_t epochs = 10;
  std::int64_t batch_size = 32;  ///< images that an optimizer step sees
  std::int64_t accumulate = 1;   ///< parts of a batch, of which one at a time is computed
  bool sync_batch_norm = false;  ///< batch norm's statistics are those of all ranks' parts
  OptimizerSettings optimizer;
  ScheduleSettings schedule;  ///< its `epochs` is set from the above
  double label_smoothing = 0;
  double mixup = 0;   ///< alpha; 0: off
  double cutmix = 0;  ///< alpha; 0: off. With both, each batch gets one of the two, drawn evenly
  Augmentation augmentation;
  std::optional<double> dropout;      ///< overrides the network's own
  double auxiliary_weight = 0;        ///< of the auxiliary head's loss; 0: the head is not run
  std::int64_t early_stop = 0;        ///< stop after so many epochs without a lower validation loss; 0: never
  std::int64_t checkpoint_every = 1;  ///< epochs
  bool keep_state = false;            ///< all of the state stays when the run is finished
  std::uint64_t seed = 0;
  std::uint64_t view_seed = 0;  ///< of the augmentation
  std::int64_t views = 0;       ///< epoch e sees view e % views; 0: a new view every epoch
  /// Of the rows of a batch, where some training samples have no label; empty: their share of the samples.
  std::optional<double> unlabelled_share;
  int workers = 1;
  double ema = 0;  ///< decay of the weights' average, which is then what is validated and saved; 0: none
  RecalibrationSettings recalibrate;  ///< of batch norm, before validating and saving
  DistillationSettings distillation;  ///< with a teacher
  ObjectiveSchedule objective;        ///< with a teacher; validation keeps to the settings that it starts from
  bool capture = false;               ///< replay steps as graphs; always on CUDA
};

/// What a run reads and trains. val and the teachers may be null. Where some samples of train have no label
/// (engine/data/joined.h), draw_epoch deals them, and the teacher alone speaks for them.
struct TrainingParts {
  Network& network;
  Preprocessing preprocessing;
  std::int64_t classes;
  const Dataset& train;
  const Dataset* val = nullptr;
  Teacher* teacher = nullptr;
  Teacher* val_teacher = nullptr;
  Hints* hints = nullptr;        ///< the teacher's outputs() are of their layers
  DType precision = DType::f32;  ///< of activations; parameters are f32, and where they lie the run is computed
};

/// Means over an epoch's samples; hard, its gradient, accuracy and top5 over those with a label. Soft and kl are 0
/// without a teacher; hard, accuracy and top5 are 0 without labels; hints are in training alone.
struct EpochMetrics {
  double loss = 0, hard = 0, soft = 0, accuracy = 0, top5 = 0, kl = 0, hints = 0;
  GradientNorms gradients;  ///< with a teacher, of the training part
  /// [true class][predicted class], of labelled validation pictures.
  std::vector<std::vector<std::int64_t>> confusion = {};
};

struct EpochReport {
  std::int64_t epoch = 0;  ///< from 1
  std::int64_t step = 0;
  double lr = 0;                                     ///< of the epoch's last step
  std::optional<DistillationSettings> distillation;  ///< of the last step, with a teacher
  EpochMetrics train;
  std::optional<EpochMetrics> val;
  std::int64_t recalibrated = 0;  ///< training pictures over which batch norm's statistics were estimated anew
  bool selected = false;          ///< the best on validation so far: by accuracy, then loss; without labels by loss
  double images_per_second = 0, seconds = 0;  ///< of the training part, as run now
};

/// What the caller does meanwhile. All may be empty.
struct TrainHooks {
  std::function<void(std::int64_t epoch, std::int64_t samples, double loss)> step_done;
  std::function<void(std::int64_t done)> validation_step_done;
  /// Before the state of the epoch's end is saved: what is kept of an epoch must not be behind the state.
  std::function<void(const EpochReport&)> epoch_done;
  std::function<void()> save_selected;    ///< the network is now the best on validation
  std::function<void()> save_checkpoint;  ///< the network is in a good state at the end of an epoch
  std::function<bool()> should_stop;      ///< asked after every step
};

class Trainer {
 public:
  /// Throws UsageError where training samples without a label meet no teacher, or a loss that reads labels itself, and
  /// for a batch that cannot be cut, or sync_batch_norm where it would change nothing.
  Trainer(const TrainingParts& parts, const TrainSettings& settings, TrainHooks hooks, std::string state_path,
          Fingerprint fingerprint);

  /// Throws what check_fits (engine/distill/memory_plan.h) throws where a step on the CPU would not fit into memory.
  void check_memory();
  /// Continues from the state file. Throws what load_training_state throws.
  void resume();
  /// Trains to the last epoch; the network then holds what was saved last: with ema, the average. Returns false if
  /// should_stop() asked to stop: the state is then saved, in mid-epoch too. Throws Error on a loss or weight that is
  /// not finite (naming epoch, step and learning rate; nothing is saved over).
  bool run();
  const TrainingProgress& progress() const { return progress_; }

 private:
  LoaderOptions loading() const;
  bool run_epoch(Loader& loader);
  /// A part of a step that was asked for and whose results are on their way.
  struct PendingPart {
    Targets targets;                       ///< on the CPU
    std::optional<std::int64_t> labelled;  ///< as in StepInputs
    Tensor teacher;                        ///< on the CPU; one on the device is among the results
    std::unique_ptr<PendingResults> results;
  };
  struct PendingStep {
    std::int64_t number;  ///< from 1
    DistillationSettings distillation;
    std::vector<PendingPart> parts;
  };
  void check_parts() const;
  void check_sync_batch_norm() const;
  void spread_state();
  bool next_step(Loader& loader, std::vector<Batch>& parts) const;
  void mix(Batch& batch, Targets& targets) const;
  StepInputs inputs_of(Batch& part, Targets& targets);
  PendingStep start_step(std::vector<Batch>& parts);
  void finish_step(const PendingStep& step);
  EpochSums measure_part(const PendingPart& part, const StepResults& results, DistillationSettings distillation) const;
  void finish_epoch(double images_per_second, double seconds);
  std::int64_t recalibrate();
  void save_state(bool finished = false);
  /// The tensors of the training state beside the network's and the optimizer's.
  MoreState more_state();
  std::optional<EpochMetrics> validate();
  bool select(const EpochMetrics& val);
  void check_loss(double loss, const char* name, std::int64_t step) const;
  void check_weights();
  Error diverged(const std::string& what, std::int64_t step) const;

  TrainingParts parts_;
  TrainSettings settings_;
  TrainHooks hooks_;
  std::string state_path_;
  Fingerprint fingerprint_;
  Optimizer optimizer_;
  std::optional<WeightAverage> average_;
  std::optional<Recalibration> recalibration_;
  TrainingStep step_;
  Plateau plateau_;
  TrainingProgress progress_;
  std::optional<SamplingPlan> plan_;  ///< where some samples have no label
  std::int64_t batches_ = 1;
  double lr_ = 0;
  DistillationSettings distillation_;  ///< of the step under way
};

}  // namespace retort
