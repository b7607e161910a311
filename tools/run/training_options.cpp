#include "tools/run/training_options.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "engine/core/check.h"
#include "engine/data/loader.h"
#include "models/checkpoint.h"
#include "models/head.h"

namespace retort {

namespace {

const OptimizerRow& row_of(OptimizerKind kind) { return *std::ranges::find(kOptimizers, kind, &OptimizerRow::value); }

}  // namespace

std::string by_optimizer(double OptimizerRow::*number) {
  std::string list;
  for (const OptimizerRow& row : kOptimizers) list += text(list.empty() ? "" : ", ", row.*number, " for ", row.word);
  return list;
}

double lr_of(const TrainingOptions& options) { return options.lr.value_or(row_of(options.optimizer).default_lr); }

double weight_decay_of(const TrainingOptions& options) {
  return options.weight_decay.value_or(row_of(options.optimizer).default_weight_decay);
}

std::int64_t images_at_a_time(const TrainingOptions& options) {
  return part_size(options.batch_size, options.accumulate);
}

std::int64_t epochs_of(const TrainingOptions& options, std::int64_t pictures) {
  if (options.epochs) return *options.epochs;
  const std::int64_t passes = (kPicturesSeen + pictures - 1) / std::max<std::int64_t>(pictures, 1);
  return std::clamp(passes, kFewestEpochs, kMostEpochs);
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

std::string network_to_train(const char* flag, const std::string& name, TrainingOptions& options) {
  if (is_architecture(name)) return name;
  if (is_keras_network(name) && !options.weights.empty())
    return network_to_train(flag, text(std::exchange(options.weights, ""), "::", name), options);
  std::error_code no_such_name;
  if (!std::filesystem::is_regular_file(checkpoint_file(name), no_such_name))
    throw UsageError(text(flag, ": ", no_architecture(name), "; a file that holds a network serves, too"));
  if (!options.weights.empty())
    throw UsageError(text("--weights: ", name, " has weights of its own; leave --weights out"));
  options.weights = name;
  const ModelSpec spec = load_spec(name);
  if (options.head.empty()) options.head = spec.head;
  return spec.architecture;
}

DType computing_type(const TrainingOptions& options) {
  return options.precision == DType::i8 ? DType::f32 : options.precision;
}

void validate(const TrainingOptions& options) {
  if (options.precision == DType::i8) {
    if (options.weights.empty())
      throw UsageError("--precision: int8 rounds a network that is trained; give its file in place of an architecture");
    if (compute_device(options.common) != Device::cpu)
      throw UsageError("--precision: int8 computes on the CPU alone; add --device cpu");
    if (options.auxiliary) throw UsageError("--aux: --precision int8 trains what evaluation computes; leave it out");
  }
  if (!options.head.empty()) parse_head(options.head);
  if (options.new_head && options.weights.empty())
    throw UsageError("--new-head: a network that starts fresh has one in any case; leave it out, or give --weights");
  if (!options.warm_start.empty() && !options.weights.empty())
    throw UsageError("--warm-start: --weights gives every tensor already; leave one of them out");
  if (!options.milestones.empty() && options.schedule != ScheduleKind::step)
    throw UsageError("--milestones: go with --schedule step");
  if (options.no_norm_decay && weight_decay_of(options) == 0)
    throw UsageError("--no-norm-decay: there is no decay to leave out; give a --weight-decay above 0");
  if (options.epochs && options.warmup_epochs > static_cast<double>(*options.epochs))
    throw UsageError(
        text("--warmup-epochs: ", options.warmup_epochs, " is not allowed; give a number from 0 to --epochs"));
  if (options.nesterov && (options.optimizer != OptimizerKind::sgd || options.momentum == 0))
    throw UsageError("--nesterov: needs --optimizer sgd with a --momentum above 0");
}

}  // namespace retort
