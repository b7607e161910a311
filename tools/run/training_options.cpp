// The flags of `train` and `distill`, and the checks of their values.
#include <cmath>

#include "engine/core/check.h"
#include "tools/run/training.h"

namespace retort {

void add_training_options(CLI::App& command, TrainingOptions& options) {
  add_common_options(command, options.common);
  add_data_options(command, options.data, /*with_split=*/false);
  command.add_option("-o,--out", options.out, "Model file to write (.safetensors)")->required();
  command.add_option("--weights", options.weights,
                     "Start from this file's weights; a head of another size is replaced");
  command.add_option("--epochs", options.epochs, "Passes over the training data")->capture_default_str();
  command.add_option("--batch-size", options.batch_size, "Images a step")->capture_default_str();
  command.add_option("--lr", options.lr, "Peak learning rate (default: 0.02 for sgd, 0.001 for adam and adamw)");
  command.add_option("--optimizer", options.optimizer, "sgd, adam or adamw")->capture_default_str();
  command.add_option("--momentum", options.momentum, "Of SGD")->capture_default_str();
  command.add_flag("--nesterov", options.nesterov, "Nesterov momentum");
  command.add_option("--weight-decay", options.weight_decay, "L2 penalty; decoupled for adamw")->capture_default_str();
  command.add_option("--schedule", options.schedule, "constant, cosine, step or plateau")->capture_default_str();
  command.add_option("--warmup-epochs", options.warmup_epochs, "Epochs of linear warm-up")->capture_default_str();
  command.add_option("--label-smoothing", options.label_smoothing, "In [0, 1)")->capture_default_str();
  command.add_option("--augment", options.augment, "none, or a list of flip, crop, jitter");
  command.add_option("--mixup", options.mixup, "Alpha of mixup; 0: off")->capture_default_str();
  as_list(command.add_option("--freeze", options.freeze,
                             "Keep parameters whose name matches (* and ?), or begins with NAME."));
  command.add_option("--dropout", options.dropout, "Probability in [0, 1), in place of the network's own");
  command.add_option("--max-norm", options.max_norm, "Clip the global gradient norm; 0: off")->capture_default_str();
  command
      .add_option("--early-stop", options.early_stop, "Stop after N epochs without a lower validation loss; 0: never")
      ->capture_default_str();
  command.add_option("--precision", options.precision, "fp32 or bf16")->capture_default_str();
  command.add_option("--checkpoint-every", options.checkpoint_every, "Epochs between checkpoints")
      ->capture_default_str();
  command.add_flag("--resume", options.resume, "Continue a stopped run from its training state");
  command.add_option("--log", options.log, "JSON lines, one an epoch");
  command.add_option("--report", options.report, "Page about the run to write (.html)");
  command.add_flag("--aux", options.auxiliary, "Train InceptionV3's auxiliary head too");
}

namespace {

void require(bool ok, const char* flag, double value, const char* expected) {
  if (!ok) throw UsageError(text(flag, ": ", value, " is not allowed; give ", expected));
}

void require_word(const char* flag, const std::string& value, const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) {
    if (word == value) return;
    list += (list.empty() ? "" : ", ") + word;
  }
  throw UsageError(text(flag, ": '", value, "' is not known; give one of ", list));
}

}  // namespace

void validate(const TrainingOptions& options) {
  require(options.epochs > 0, "--epochs", options.epochs, "a whole number from 1");
  require(options.batch_size > 0, "--batch-size", options.batch_size, "a whole number from 1");
  if (options.lr) require(*options.lr > 0 && std::isfinite(*options.lr), "--lr", *options.lr, "a number above 0");
  require_word("--optimizer", options.optimizer, {"sgd", "adam", "adamw"});
  require_word("--schedule", options.schedule, {"constant", "cosine", "step", "plateau"});
  require_word("--precision", options.precision, {"fp32", "bf16"});
  require(options.momentum >= 0 && options.momentum < 1, "--momentum", options.momentum, "a number in [0, 1)");
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "--weight-decay", options.weight_decay,
          "a number from 0");
  require(options.warmup_epochs >= 0 && options.warmup_epochs <= options.epochs, "--warmup-epochs",
          options.warmup_epochs, "a number from 0 to --epochs");
  require(options.label_smoothing >= 0 && options.label_smoothing < 1, "--label-smoothing", options.label_smoothing,
          "a number in [0, 1)");
  require(options.mixup >= 0 && std::isfinite(options.mixup), "--mixup", options.mixup, "a number from 0");
  if (options.dropout)
    require(*options.dropout >= 0 && *options.dropout < 1, "--dropout", *options.dropout, "a number in [0, 1)");
  require(options.max_norm >= 0 && std::isfinite(options.max_norm), "--max-norm", options.max_norm, "a number from 0");
  require(options.early_stop >= 0, "--early-stop", options.early_stop, "a whole number from 0");
  require(options.checkpoint_every > 0, "--checkpoint-every", options.checkpoint_every, "a whole number from 1");
  if (options.nesterov && (options.optimizer != "sgd" || options.momentum == 0))
    throw UsageError("--nesterov: needs --optimizer sgd with a --momentum above 0");
  if (!options.out.ends_with(".safetensors"))
    throw UsageError(text("--out: '", options.out, "' is not a .safetensors file; name one"));
  if (!options.report.empty() && !options.report.ends_with(".html"))
    throw UsageError(text("--report: '", options.report, "' is not a .html file; name one"));
}

}  // namespace retort
