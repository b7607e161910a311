// retort distill: trains a student on a teacher's soft targets and the true labels.
#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/io/file.h"
#include "tools/commands/commands.h"
#include "tools/run/distillation.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

void validate_teacher(const DistillOptions& options) {
  if (options.logits.empty() && options.teacher.empty())
    throw UsageError("distill: needs a teacher; give --logits FILE.npy (see `retort logits`) or --teacher FILE");
  if (!options.val_logits.empty() && options.logits.empty())
    throw UsageError("--val-logits: goes with --logits; a live teacher needs none");
  if (!options.teacher_weights.empty() && !options.logits.empty())
    throw UsageError("--teacher-weights: goes with a live --teacher; weigh stores with `retort combine --weights`");
  check_weights("--teacher-weights", options.teacher_weights, split_commas(options.teacher).size(), "teachers");
  if (options.views < 0)
    throw UsageError(text("--views: ", options.views, " is not allowed; give a whole number from 1"));
}

/// The store of the validation part, which must come from the same teacher.
void add_val_store(const DistillOptions& options, const LogitStore& store, const Dataset& part, Guidance& guidance) {
  auto [val, rows] = open_store(options.val_logits, part.classes(), part, Split::val, options.data, options.common);
  check(options.val_logits != options.logits || val.names == store.names, options.val_logits,
        ": its rows can't be those of the training part and those of the validation part; give each its own");
  check(val.teacher == store.teacher && val.preprocessing == store.preprocessing, options.val_logits,
        ": comes from another teacher or preprocessing than ", options.logits, "; make both with the same model");
  check(val.views == 1 && !val.augmentation.any(), options.val_logits,
        ": holds augmented views; validation uses one centred view: make it without --views");
  guidance.val_teacher = std::make_unique<CachedTeacher>(std::move(val), std::move(rows));
  guidance.val = guidance.val_teacher.get();
}

Guidance stored_guidance(const DistillOptions& options, const TrainingData& data) {
  StoredTeacher stored = open_stored_teacher(options, *data.train);
  if (!options.omit_classes.empty()) stored = part_of(stored, samples_without(*data.train, options.omit_classes));
  Guidance guidance = cached_guidance(options, stored);
  if (!options.val_logits.empty() && data.val) add_val_store(options, stored.store, *data.val, guidance);
  return guidance;
}

Guidance live_guidance(const DistillOptions& options, const TrainingData& data) {
  Guidance guidance;
  std::vector<Model> models = load_teachers(options.teacher, compute_device(options.common));
  guidance.classes = models.front().spec.classes;
  if (data.train->labelled()) check_teacher_classes(models.front(), options.teacher, data.train->classes());
  guidance.notes["teacher"] = teacher_hashes(models);
  guidance.fingerprint["--teacher"] = guidance.notes["teacher"];
  guidance.fingerprint["--combine"] = options.combine;
  for (const double weight : options.teacher_weights) guidance.fingerprint["--teacher-weights"] += text(weight, ",");
  guidance.fingerprint["--views"] = std::to_string(options.views);
  guidance.augmentation = options.augment     ? parse_augmentation(*options.augment)
                          : options.views > 1 ? default_view_augmentation(*data.train)
                                              : Augmentation{};
  guidance.views = options.views;
  guidance.view_seed = options.common.seed;
  guidance.teacher = live_teacher(std::move(models), parse_combine(options.combine), options.teacher_weights);
  guidance.val = guidance.teacher.get();
  return guidance;
}

void run(const DistillOptions& options) {
  apply_common_options(options.common);
  validate(options);
  validate_teacher(options);
  check_writable(options.out);
  TrainingData data = open_training_data(options, /*allow_unlabelled=*/true);
  if (!data.train->labelled() && options.lambda.value_or(0) != 0)
    throw UsageError(
        text("--lambda: ", *options.lambda, " weighs labels, and ", options.data.path, " has none; use --lambda 0"));
  Guidance guidance = options.logits.empty() ? live_guidance(options, data) : stored_guidance(options, data);
  if (!options.omit_classes.empty()) {
    std::vector<std::int64_t> kept = samples_without(*data.train, options.omit_classes);
    data.train = pick_samples(std::move(data.train), std::move(kept));
    for (const std::string& name : options.omit_classes) guidance.notes["omitted"] += "," + name;
    guidance.notes["omitted"].erase(0, 1);
    guidance.fingerprint["--omit-classes"] = guidance.notes["omitted"];
  }
  set_objective(options, *data.train, guidance);
  const TrainingOutcome outcome = run_training(options, options.student, data, std::move(guidance));
  if (options.common.json) print_outcome_json(outcome);
}

}  // namespace

void add_distill_command(CLI::App& app) {
  auto options = std::make_shared<DistillOptions>();
  CLI::App* command = app.add_subcommand("distill", "Trains a student on soft and hard targets");
  add_distillation_options(*command, *options);
  command->add_option("--val-logits", options->val_logits, "Store of the validation part");
  command->add_option("--teacher", options->teacher, "Live teacher: FILE[,FILE...]");
  command->add_option("--combine", options->combine, "Of several teachers: logit, arithmetic or geometric")
      ->capture_default_str();
  as_list(command->add_option("--teacher-weights", options->teacher_weights, "One for each teacher (default: equal)"));
  command->add_option("--views", options->views, "A live teacher's views: epoch e sees view e mod K");
  command->add_option("--temperature", options->temperature, "T > 0")->capture_default_str();
  command->add_option("--lambda", options->lambda, "Weight of the labels, in [0, 1] (default 0.1; 0 without labels)");
  as_list(command->add_option("--omit-classes", options->omit_classes,
                              "Train on no image of these classes; the student keeps them"));
  command->callback([options] { run(*options); });
}

}  // namespace retort
