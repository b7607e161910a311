// The flags of training: how a network is trained, and where a run's results go.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/distill/recalibrate.h"
#include "engine/nn/optimizer.h"
#include "engine/nn/schedule.h"
#include "tools/cli/options.h"
#include "tools/run/kernel_choice.h"
#include "tools/run/kernel_counts.h"

namespace retort {

// The default recipe: docs/results/recipe.md has what it was chosen by.

struct OptimizerRow {
  OptimizerKind value;
  const char* word;
  double default_lr, default_weight_decay;
};
inline constexpr OptimizerRow kOptimizers[] = {{OptimizerKind::adamw, "adamw", 0.002, 0.05},
                                               {OptimizerKind::adam, "adam", 0.001, 0},
                                               {OptimizerKind::sgd, "sgd", 0.02, 0.0005}};
/// Without --epochs a run sees so many pictures, or passes over all of them the least or the most number of times.
inline constexpr std::int64_t kPicturesSeen = 30'000, kFewestEpochs = 20, kMostEpochs = 100;
inline constexpr Word<ScheduleKind> kSchedules[] = {{ScheduleKind::constant, "constant"},
                                                    {ScheduleKind::cosine, "cosine"},
                                                    {ScheduleKind::step, "step"},
                                                    {ScheduleKind::plateau, "plateau"}};
inline constexpr Word<DType> kPrecisions[] = {{DType::f32, "fp32"}, {DType::bf16, "bf16"}, {DType::i8, "int8"}};

inline constexpr const char* kAutomatic = "auto";
/// auto, off or a number of pictures.
Allowed recalibration_words();

/// How a network is trained, whatever teaches it.
struct TrainingOptions {
  CommonOptions common;
  DataOptions data;
  std::string weights, warm_start;
  bool new_head = false;
  std::string head;
  std::optional<std::int64_t> epochs;  ///< none: by the number of pictures; a TrainingRun has some
  std::int64_t batch_size = 32;
  std::int64_t accumulate = 1;
  bool sync_batch_norm = false;
  std::optional<double> lr;
  OptimizerKind optimizer = OptimizerKind::adamw;
  double momentum = 0.9;
  bool nesterov = false;
  std::optional<double> weight_decay;
  ScheduleKind schedule = ScheduleKind::cosine;
  std::vector<double> milestones;
  std::optional<double> head_lr;
  double layer_decay = 1;
  double unfreeze_every = 0;  ///< epochs; 0: all train from the start
  bool no_norm_decay = false;
  double warmup_epochs = 0.5, label_smoothing = 0;
  std::optional<std::string> augment;  ///< none: what suits the pictures, or a store's own
  double mixup = 0, cutmix = 0, ema = 0;
  std::string bn_recalibrate = kAutomatic;
  std::vector<std::string> freeze;
  std::optional<double> dropout;
  double max_norm = 0;
  std::int64_t early_stop = 0;
  DType precision = DType::f32;
  KernelChoice kernels;
  std::int64_t checkpoint_every = 1;
  bool auxiliary = false;
};

/// "0.002 for adamw, 0.001 for adam, ...": one of the numbers of kOptimizers.
std::string by_optimizer(double OptimizerRow::*number);
/// --lr and --weight-decay, or the optimizer's defaults.
double lr_of(const TrainingOptions& options);
double weight_decay_of(const TrainingOptions& options);
/// Of activations: --precision int8 computes in f32 what it rounds.
DType computing_type(const TrainingOptions& options);
/// Images of the largest part of a batch.
std::int64_t images_at_a_time(const TrainingOptions& options);
/// --epochs, or those in which about kPicturesSeen pictures are seen.
std::int64_t epochs_of(const TrainingOptions& options, std::int64_t pictures);
/// What --bn-recalibrate says.
RecalibrationSettings recalibration_of(const TrainingOptions& options);
/// What `flag` asks to train: an architecture as it is, or a file's, whose weights the run then starts from. Throws
/// UsageError for a name that is neither.
std::string network_to_train(const char* flag, const std::string& name, TrainingOptions& options);
/// Throws UsageError naming a flag that does not go with another.
void validate(const TrainingOptions& options);

inline constexpr const char* kAugmentHelp =
    "none, or a list of flip, crop, jitter, erase, randaugment (default: what suits the pictures; the views of a "
    "store)";

/// The rows of the training itself; `common` and `data` have their own.
template <class Visitor>
void visit_flags(TrainingOptions& o, Visitor&& flag, const char* augment_help = kAugmentHelp) {
  const FlagSubject subject(flag, "Training", "--epochs 30 --lr 0.002");
  flag("--weights", o.weights, "Start from this file's weights; a head of another size is replaced", anything(),
       bits_in("weights"));
  flag("--warm-start", o.warm_start, "Take from this file, of any network, the tensors that fit; the rest starts fresh",
       anything(), bits_in("warm start"));
  flag("--new-head", o.new_head, "The layer that gives the classes starts fresh, even if the file's would fit",
       anything(), bits_unless(!o.new_head));
  flag("--head", o.head, "Layers in place of the last one, e.g. 512,relu,dropout:0.3; the classes' own follows",
       anything(), bits_unless(o.head.empty()));
  flag("--epochs", o.epochs,
       text("Passes over the training data (default: until ", kPicturesSeen, " pictures are seen, but ", kFewestEpochs,
            " to ", kMostEpochs, ")"),
       whole_number(1), length("epochs"));
  flag("--batch-size", o.batch_size, "Images a step", whole_number(1), bits());
  flag("--accumulate", o.accumulate,
       "Parts of a batch, of which one at a time is in memory; each is batch norm's batch", whole_number(1),
       bits_unless(o.accumulate == 1));
  flag("--sync-batch-norm", o.sync_batch_norm, "Batch norm's statistics are those of all processes' pictures",
       anything(), bits_unless(!o.sync_batch_norm));
  flag("--lr", o.lr, text("Peak learning rate (default: ", by_optimizer(&OptimizerRow::default_lr), ")"),
       number_above(0), bits_as(exact(lr_of(o))));
  flag("--optimizer", o.optimizer, "{}", one_of(kOptimizers), bits());
  flag("--momentum", o.momentum, "Of SGD", number_in("[0, 1)"), bits());
  flag("--nesterov", o.nesterov, "Nesterov momentum", anything(), bits());
  flag("--weight-decay", o.weight_decay,
       text("L2 penalty; decoupled for adamw (default: ", by_optimizer(&OptimizerRow::default_weight_decay), ")"),
       number_from(0), bits_as(exact(weight_decay_of(o))));
  flag("--no-norm-decay", o.no_norm_decay, "No weight decay on norms and biases", anything(),
       bits_unless(!o.no_norm_decay));
  flag("--head-lr", o.head_lr, "Peak learning rate of the classifier (default: --lr)", number_above(0),
       bits_unless(!o.head_lr));
  flag("--layer-decay", o.layer_decay, "Factor on the learning rate from each block to the one before it",
       number_in("(0, 1]"), bits_unless(o.layer_decay == 1));
  flag("--unfreeze-every", o.unfreeze_every,
       "The classifier trains at once, each block before it N epochs after the one behind; 0: all at once",
       number_from(0), bits_unless(o.unfreeze_every == 0));
  flag("--schedule", o.schedule, "{}", one_of(kSchedules), bits());
  flag("--milestones", o.milestones, "Epochs after which --schedule step divides by ten (default: the run's thirds)",
       number_above(0), bits_unless(o.milestones.empty()));
  flag("--warmup-epochs", o.warmup_epochs, "Epochs of linear warm-up", number_from(0), bits());
  flag("--label-smoothing", o.label_smoothing, "In [0, 1)", number_in("[0, 1)"), bits());
  flag("--augment", o.augment, augment_help, anything(), bits_in("--augment"));
  flag("--mixup", o.mixup, "Alpha of mixup; 0: off", number_from(0), bits());
  flag("--cutmix", o.cutmix, "Alpha of CutMix; 0: off. With --mixup, a batch gets one of the two", number_from(0),
       bits_unless(o.cutmix == 0));
  flag("--ema", o.ema, "Decay of the weights' moving average, which is then validated and saved; 0: off",
       number_in("[0, 1)"), bits_unless(o.ema == 0));
  flag("--bn-recalibrate", o.bn_recalibrate,
       text("Batch norm's statistics anew over N pictures before validating and saving, or off (auto: ",
            RecalibrationSettings{}.pictures, ", while the running ones lag behind)"),
       recalibration_words(), bits_unless(o.bn_recalibrate == kAutomatic));
  flag("--freeze", o.freeze, "Keep parameters whose name matches (* and ?), or begins with NAME.", anything(), bits());
  flag("--dropout", o.dropout, "Probability in [0, 1), in place of the network's own", number_in("[0, 1)"), bits());
  flag("--max-norm", o.max_norm, "Clip the global gradient norm; 0: off", number_from(0), bits());
  flag("--early-stop", o.early_stop, "Stop after N epochs without a lower validation loss; 0: never", whole_number(0),
       length("--early-stop"));
  flag("--precision", o.precision, "{}; int8: a trained network learns on while it rounds as 8 bits will",
       one_of(kPrecisions), bits_unless(o.precision == DType::f32));
  flag("--backend", o.kernels.backend,
       "Whose kernels compute: reference, cudnn, cuda_tf32, a step of the ladder, ... (default: --device's own)",
       anything(), bits_unless(o.kernels.backend.empty()));
  flag("--kernel", o.kernels.kernels, kKernelHelp, anything(), bits_unless(o.kernels.kernels.empty()));
  flag("--checkpoint-every", o.checkpoint_every, "Epochs between checkpoints", whole_number(1),
       no_bits("how often files are written"));
  flag("--aux", o.auxiliary, "Train InceptionV3's auxiliary head too", anything(), bits());
}

/// Where the results of a run go, and whether it continues one that was stopped.
struct RunOptions {
  std::string out, log, report, tensorboard, counters;
  bool resume = false, restart = false, keep_state = false;
};

/// In what these flags differ where a command makes many runs.
struct RunFlags {
  const char* folder = nullptr;  ///< --out is a folder, for this; null: a model file
  bool resume = true, files = true;
};

template <class Visitor>
void visit_flags(RunOptions& o, Visitor&& flag, const RunFlags& command = {}) {
  const FlagSubject subject(flag, "Results", "--out student.safetensors --log run.jsonl --report run.html");
  flag("-o,--out", o.out, command.folder ? command.folder : "Model file to write (.safetensors)",
       required(command.folder ? anything() : file_name(".safetensors")), no_bits("names files"));
  if (command.resume) {
    flag("--resume", o.resume, "Continue a stopped run from its training state", anything(),
         no_bits("a resumed run has the bits of one never interrupted"));
    flag("--restart", o.restart, "Throw a stopped run's training state away and begin anew", anything(),
         no_bits("what becomes of an earlier run's files"));
    flag("--keep-state", o.keep_state, "Keep the training state of a finished run, which more --epochs then continue",
         anything(), no_bits("what becomes of the run's files"));
  }
  if (!command.files) return;
  flag("--log", o.log, "JSON lines, one an epoch", anything(), no_bits("names a file"));
  flag("--report", o.report, "Page about the run to write (.html)", file_name(".html"), no_bits("names a file"));
  flag("--tensorboard", o.tensorboard, "Folder for TensorBoard's events: curves, confusion matrix, hyperparameters",
       anything(), no_bits("names a folder"));
  if (!command.folder) flag("--counters", o.counters, kCountersHelp, file_name(".json"), no_bits("names a file"));
}

}  // namespace retort
