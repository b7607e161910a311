#include "tools/run/distillation.h"

#include <cmath>

#include "engine/core/check.h"
#include "tools/cli/progress.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

constexpr double kDefaultLambda = 0.1;

/// Takes augmentation, views and seed from the store, and refuses flags that say otherwise.
void follow_store(const DistillOptions& options, const LogitStore& store, Guidance& guidance) {
  if (options.views > 0 && options.views != store.views)
    throw UsageError(text("--views: ", options.logits, " holds ", store.views, " views, not ", options.views));
  if (options.augment) {
    const Augmentation asked = parse_augmentation(*options.augment);
    if (asked.flip != store.augmentation.flip || asked.crop != store.augmentation.crop ||
        asked.jitter != store.augmentation.jitter)
      throw UsageError(text("--augment: teacher and student must see the same views, and those of ", options.logits,
                            " were drawn otherwise; leave --augment out, or make the store with `logits --views K "
                            "--augment ",
                            *options.augment, "`"));
  }
  guidance.augmentation = store.augmentation;
  guidance.views = store.views;
  guidance.view_seed = store.seed;
}

/// What the student's file and the fingerprint keep of the loss; of the newer flags only what differs from the default.
void note_settings(const DistillOptions& options, Guidance& guidance) {
  std::map<std::string, std::string> notes = {{"temperature", text(options.temperature)},
                                              {"lambda", text(guidance.settings.lambda)},
                                              {"convention", options.convention}};
  if (options.loss != "kd") notes["loss"] = options.loss;
  if (options.standardize_logits) notes["standardize-logits"] = "on";
  if (options.soft_weight != 1) notes["soft-weight"] = text(options.soft_weight);
  if (options.soft_ramp_epochs > 0) notes["soft-ramp-epochs"] = text(options.soft_ramp_epochs);
  if (options.temperature_end) notes["temperature-end"] = text(*options.temperature_end);
  if (options.lambda_end) notes["lambda-end"] = text(*options.lambda_end);
  for (const auto& [key, value] : notes) {
    guidance.notes[key] = value;
    guidance.fingerprint["--" + key] = value;
  }
}

/// Plain kd's gradients can be compared beforehand; of the others only the weights are known.
std::string objective_line(const DistillOptions& options, const DistillationSettings& settings) {
  const bool plain = settings.loss == SoftLoss::kd && !settings.standardize;
  const std::string start =
      text("loss: ", plain ? "" : options.loss + (settings.standardize ? " standardised, " : ", "), options.convention,
           ", T = ", settings.temperature, options.temperature_end ? text(" to ", *options.temperature_end) : "",
           ", lambda = ", settings.lambda, options.lambda_end ? text(" to ", *options.lambda_end) : "");
  if (!plain) return text(start, "; weights: hard ", settings.lambda, ", soft ", weight_of_soft(settings));
  const double hard = 100 * effective_hard_share(settings);
  return text(start, "; effective share: hard ", hard, "%, soft ", 100 - hard, "%");
}

}  // namespace

void add_distillation_options(CLI::App& command, DistillOptions& options) {
  command.add_option("--student", options.student, "Architecture, e.g. inception_v3")->required();
  add_training_options(command, options);
  command.add_option("--logits", options.logits,
                     "The teacher's logit store (.npy with its .json), or a .csv or .npy alone");
  command.add_option("--convention", options.convention, "convex or additive")->capture_default_str();
  command.add_option("--loss", options.loss, "kd, mse, dkd, nkd, dist, ttm or wttm")->capture_default_str();
  command.add_flag("--standardize-logits", options.standardize_logits,
                   "Standardise both networks' logits in the soft term");
  command.add_option("--soft-weight", options.soft_weight, "Multiplies the soft term")->capture_default_str();
  command.add_option("--soft-ramp-epochs", options.soft_ramp_epochs, "Epochs over which the soft term's weight rises")
      ->capture_default_str();
  command.add_option("--temperature-end", options.temperature_end,
                     "The temperature goes to this over the run (default: stays)");
  command.add_option("--lambda-end", options.lambda_end, "Lambda goes to this over the run (default: stays)");
}

void validate(const DistillOptions& options) {
  validate(static_cast<const TrainingOptions&>(options));
  if (!is_architecture(options.student))
    throw UsageError(text("--student: '", options.student, "' is no architecture; give one such as inception_v3"));
  if (!(options.temperature > 0) || !std::isfinite(options.temperature))
    throw UsageError(text("--temperature: ", options.temperature, " is not allowed; give a number above 0"));
  if (options.temperature_end && (!(*options.temperature_end > 0) || !std::isfinite(*options.temperature_end)))
    throw UsageError(text("--temperature-end: ", *options.temperature_end, " is not allowed; give a number above 0"));
  if (options.lambda_end && !(*options.lambda_end >= 0 && *options.lambda_end <= 1))
    throw UsageError(text("--lambda-end: ", *options.lambda_end, " is not allowed; give a number in [0, 1]"));
  if (options.lambda && !(*options.lambda >= 0 && *options.lambda <= 1))
    throw UsageError(text("--lambda: ", *options.lambda, " is not allowed; give a number in [0, 1]"));
  if (options.convention != "convex" && options.convention != "additive")
    throw UsageError(text("--convention: '", options.convention, "' is not known; give convex or additive"));
  const SoftLoss loss = parse_soft_loss(options.loss);
  if (!(options.soft_weight > 0) || !std::isfinite(options.soft_weight))
    throw UsageError(text("--soft-weight: ", options.soft_weight, " is not allowed; give a number above 0"));
  if (!(options.soft_ramp_epochs >= 0) || !std::isfinite(options.soft_ramp_epochs))
    throw UsageError(text("--soft-ramp-epochs: ", options.soft_ramp_epochs, " is not allowed; give a number from 0"));
  if (options.mixup > 0 && soft_reads_labels(loss))
    throw UsageError(text("--mixup: ", options.loss, " takes one label an image; use another --loss"));
  if (!options.logits.empty() && options.mixup > 0)
    throw UsageError(
        "--mixup: a store has no logits for blended images; leave it out, or distil from a live --teacher");
}

StoredTeacher open_stored_teacher(const DistillOptions& options, const Dataset& train) {
  StoredTeacher stored = open_store(options.logits, train.classes(), train, Split::train, options.data, options.common);
  if (!options.teacher.empty())
    check_store_teacher(stored.store, options.logits, load_teachers(options.teacher, compute_device(options.common)));
  return stored;
}

Guidance cached_guidance(const DistillOptions& options, const StoredTeacher& stored) {
  Guidance guidance;
  follow_store(options, stored.store, guidance);
  guidance.classes = stored.store.classes;
  guidance.notes["teacher"] = stored.store.teacher;
  guidance.fingerprint["--logits"] = content_hash_of(stored.store.logits);
  guidance.teacher = std::make_unique<CachedTeacher>(stored.store, stored.rows);
  return guidance;
}

void warn_of_binary_trap(const DistillOptions& options, std::int64_t classes) {
  DistillationSettings settings;
  settings.loss = parse_soft_loss(options.loss);
  settings.standardize = options.standardize_logits;
  const std::string warning = binary_trap(settings, options.loss, classes);
  if (!warning.empty()) say(options.common.quiet, text("warning: ", warning));
}

void set_objective(const DistillOptions& options, const Dataset& train, Guidance& guidance) {
  guidance.settings.temperature = options.temperature;
  guidance.settings.lambda = options.lambda.value_or(train.labelled() ? kDefaultLambda : 0);
  guidance.settings.convention = options.convention == "convex" ? Convention::convex : Convention::additive;
  guidance.settings.loss = parse_soft_loss(options.loss);
  guidance.settings.standardize = options.standardize_logits;
  guidance.settings.soft_weight = options.soft_weight;
  guidance.schedule = {options.soft_ramp_epochs, options.temperature_end, options.lambda_end};
  if (!train.labelled() && options.lambda_end.value_or(0) != 0)
    throw UsageError(text("--lambda-end: ", *options.lambda_end, " weighs labels, and ", options.data.path,
                          " has none; leave it out"));
  if (!train.labelled() && soft_reads_labels(guidance.settings.loss))
    throw UsageError(text("--loss: ", options.loss, " reads labels, and ", options.data.path,
                          " has none; use kd, mse, dist, ttm or wttm"));
  const auto classes = static_cast<std::int64_t>(train.labelled() ? train.classes().size() : guidance.classes.size());
  warn_of_binary_trap(options, classes);
  note_settings(options, guidance);
  say(options.common.quiet, objective_line(options, guidance.settings));
}

}  // namespace retort
