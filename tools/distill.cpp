// retort distill: trains a student on a teacher's soft targets and the true labels.
#include <cmath>

#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/io/file.h"
#include "tools/commands.h"
#include "tools/progress.h"
#include "tools/teachers.h"
#include "tools/training.h"

namespace retort {
namespace {

struct Options : TrainingOptions {
  std::string student, logits, val_logits, teacher;
  std::string combine = "logit", convention = "convex", loss = "kd";
  double temperature = 4, soft_weight = 1, soft_ramp_epochs = 0;
  std::optional<double> lambda;
  std::vector<std::string> omit_classes;
  std::int64_t views = 0;
  bool standardize_logits = false;
};

constexpr double kDefaultLambda = 0.1;

void validate_distillation(const Options& options) {
  validate(options);
  if (!is_architecture(options.student))
    throw UsageError(text("--student: '", options.student, "' is no architecture; give one such as inception_v3"));
  if (!(options.temperature > 0) || !std::isfinite(options.temperature))
    throw UsageError(text("--temperature: ", options.temperature, " is not allowed; give a number above 0"));
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
  const char* const beyond_plain = loss != SoftLoss::kd           ? "--loss"
                                   : options.standardize_logits   ? "--standardize-logits"
                                   : options.soft_weight != 1     ? "--soft-weight"
                                   : options.soft_ramp_epochs > 0 ? "--soft-ramp-epochs"
                                                                  : nullptr;
  if (beyond_plain && compute_device(options.common) != Device::cpu)
    throw UsageError(text(beyond_plain, ": a device computes the plain kd loss alone so far; use --device cpu"));
  if (options.logits.empty() && options.teacher.empty())
    throw UsageError("distill: needs a teacher; give --logits FILE.npy (see `retort logits`) or --teacher FILE");
  if (!options.val_logits.empty() && options.logits.empty())
    throw UsageError("--val-logits: goes with --logits; a live teacher needs none");
  if (!options.logits.empty() && options.mixup > 0)
    throw UsageError("--mixup: a store has no logits for blended images; use --teacher");
  if (options.views < 0)
    throw UsageError(text("--views: ", options.views, " is not allowed; give a whole number from 1"));
}

/// Takes augmentation, views and seed from the store, and refuses flags that say otherwise.
void follow_store(const Options& options, const LogitStore& store, Guidance& guidance) {
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

Guidance cached_guidance(const Options& options, const TrainingData& data) {
  Guidance guidance;
  LogitStore store = read_logit_store(options.logits, data.train->classes());
  std::vector<std::int64_t> rows = match_logit_store(store, options.logits, *data.train);
  if (!options.omit_classes.empty()) {
    std::vector<std::int64_t> kept;
    for (const std::int64_t sample : samples_without(*data.train, options.omit_classes)) kept.push_back(rows[sample]);
    rows = std::move(kept);
  }
  follow_store(options, store, guidance);
  if (!options.teacher.empty())
    check_store_teacher(store, options.logits, load_teachers(options.teacher, compute_device(options.common)));
  guidance.classes = store.classes;
  guidance.notes["teacher"] = store.teacher;
  guidance.fingerprint["--logits"] = content_hash_of(store.logits);
  if (!options.val_logits.empty() && data.val) {
    LogitStore val = read_logit_store(options.val_logits, data.val->classes());
    check(val.teacher == store.teacher && val.preprocessing == store.preprocessing, options.val_logits,
          ": comes from another teacher or preprocessing than ", options.logits, "; make both with the same model");
    check(val.views == 1 && !val.augmentation.any(), options.val_logits,
          ": holds augmented views; validation uses one centred view: make it without --views");
    std::vector<std::int64_t> val_rows = match_logit_store(val, options.val_logits, *data.val);
    guidance.val_teacher = std::make_unique<CachedTeacher>(std::move(val), std::move(val_rows));
    guidance.val = guidance.val_teacher.get();
  }
  guidance.teacher = std::make_unique<CachedTeacher>(std::move(store), std::move(rows));
  return guidance;
}

Guidance live_guidance(const Options& options, const TrainingData& data) {
  Guidance guidance;
  std::vector<Model> models = load_teachers(options.teacher, compute_device(options.common));
  guidance.classes = models.front().spec.classes;
  if (data.train->labelled()) check_teacher_classes(models.front(), options.teacher, data.train->classes());
  guidance.notes["teacher"] = teacher_hashes(models);
  guidance.fingerprint["--teacher"] = guidance.notes["teacher"];
  guidance.fingerprint["--combine"] = options.combine;
  guidance.fingerprint["--views"] = std::to_string(options.views);
  guidance.augmentation = options.augment     ? parse_augmentation(*options.augment)
                          : options.views > 1 ? default_view_augmentation(*data.train)
                                              : Augmentation{};
  guidance.views = options.views;
  guidance.view_seed = options.common.seed;
  guidance.teacher = live_teacher(std::move(models), parse_combine(options.combine));
  guidance.val = guidance.teacher.get();
  return guidance;
}

/// What the student's file and the fingerprint keep of the loss; of the newer flags only what differs from the default.
void note_settings(const Options& options, Guidance& guidance) {
  std::map<std::string, std::string> notes = {{"temperature", text(options.temperature)},
                                              {"lambda", text(guidance.settings.lambda)},
                                              {"convention", options.convention}};
  if (options.loss != "kd") notes["loss"] = options.loss;
  if (options.standardize_logits) notes["standardize-logits"] = "on";
  if (options.soft_weight != 1) notes["soft-weight"] = text(options.soft_weight);
  if (options.soft_ramp_epochs > 0) notes["soft-ramp-epochs"] = text(options.soft_ramp_epochs);
  for (const auto& [key, value] : notes) {
    guidance.notes[key] = value;
    guidance.fingerprint["--" + key] = value;
  }
}

/// Plain kd's gradients can be compared beforehand; of the others only the weights are known.
std::string objective_line(const Options& options, const DistillationSettings& settings) {
  const bool plain = settings.loss == SoftLoss::kd && !settings.standardize;
  const std::string start =
      text("loss: ", plain ? "" : options.loss + (settings.standardize ? " standardised, " : ", "), options.convention,
           ", T = ", settings.temperature, ", lambda = ", settings.lambda);
  if (!plain) return text(start, "; weights: hard ", settings.lambda, ", soft ", weight_of_soft(settings));
  const double hard = 100 * effective_hard_share(settings);
  return text(start, "; effective share: hard ", hard, "%, soft ", 100 - hard, "%");
}

void run(const Options& options) {
  apply_common_options(options.common);
  validate_distillation(options);
  check_writable(options.out);
  TrainingData data = open_training_data(options, /*allow_unlabelled=*/true);
  if (!data.train->labelled() && options.lambda.value_or(0) != 0)
    throw UsageError(
        text("--lambda: ", *options.lambda, " weighs labels, and ", options.data.path, " has none; use --lambda 0"));
  Guidance guidance = options.logits.empty() ? live_guidance(options, data) : cached_guidance(options, data);
  if (!options.omit_classes.empty()) {
    std::vector<std::int64_t> kept = samples_without(*data.train, options.omit_classes);
    data.train = pick_samples(std::move(data.train), std::move(kept));
    for (const std::string& name : options.omit_classes) guidance.notes["omitted"] += "," + name;
    guidance.notes["omitted"].erase(0, 1);
    guidance.fingerprint["--omit-classes"] = guidance.notes["omitted"];
  }
  guidance.settings.temperature = options.temperature;
  guidance.settings.lambda = options.lambda.value_or(data.train->labelled() ? kDefaultLambda : 0);
  guidance.settings.convention = options.convention == "convex" ? Convention::convex : Convention::additive;
  guidance.settings.loss = parse_soft_loss(options.loss);
  guidance.settings.standardize = options.standardize_logits;
  guidance.settings.soft_weight = options.soft_weight;
  guidance.soft_ramp = options.soft_ramp_epochs;
  if (!data.train->labelled() && soft_reads_labels(guidance.settings.loss))
    throw UsageError(text("--loss: ", options.loss, " reads labels, and ", options.data.path,
                          " has none; use kd, mse, dist, ttm or wttm"));
  const auto classes =
      static_cast<std::int64_t>(data.train->labelled() ? data.train->classes().size() : guidance.classes.size());
  const std::string warning = binary_trap(guidance.settings, options.loss, classes);
  if (!warning.empty()) say(options.common.quiet, text("warning: ", warning));
  note_settings(options, guidance);
  say(options.common.quiet, objective_line(options, guidance.settings));
  const TrainingOutcome outcome = run_training(options, options.student, data, std::move(guidance));
  if (options.common.json) print_outcome_json(outcome);
}

}  // namespace

void add_distill_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("distill", "Trains a student on soft and hard targets");
  command->add_option("--student", options->student, "Architecture, e.g. inception_v3")->required();
  add_training_options(*command, *options);
  command->add_option("--logits", options->logits, "The teacher's logit store (.npy with its .json, or .csv)");
  command->add_option("--val-logits", options->val_logits, "Store of the validation part");
  command->add_option("--teacher", options->teacher, "Live teacher: FILE[,FILE...]");
  command->add_option("--combine", options->combine, "Of several teachers: logit, arithmetic or geometric")
      ->capture_default_str();
  command->add_option("--views", options->views, "A live teacher's views: epoch e sees view e mod K");
  command->add_option("--temperature", options->temperature, "T > 0")->capture_default_str();
  command->add_option("--lambda", options->lambda, "Weight of the labels, in [0, 1] (default 0.1; 0 without labels)");
  command->add_option("--convention", options->convention, "convex or additive")->capture_default_str();
  as_list(command->add_option("--omit-classes", options->omit_classes,
                              "Train on no image of these classes; the student keeps them"));
  command->add_option("--loss", options->loss, "kd, mse, dkd, nkd, dist, ttm or wttm")->capture_default_str();
  command->add_flag("--standardize-logits", options->standardize_logits,
                    "Standardise both networks' logits in the soft term");
  command->add_option("--soft-weight", options->soft_weight, "Multiplies the soft term")->capture_default_str();
  command->add_option("--soft-ramp-epochs", options->soft_ramp_epochs, "Epochs over which the soft term's weight rises")
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace retort
