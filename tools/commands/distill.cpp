// retort distill: trains a student on a teacher's soft targets and the true labels.
#include "tools/commands/distill.h"

#include <filesystem>

#include "engine/core/check.h"
#include "engine/data/pick.h"
#include "engine/group/group.h"
#include "engine/io/file.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/commands/train.h"
#include "tools/run/recipe.h"
#include "tools/run/stock_model.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

void validate(const TeacherOptions& options) {
  if (options.live() && options.teacher.empty())
    throw UsageError("distill: needs a teacher; give --logits FILE.npy (see `retort logits`) or --teacher FILE");
  if (!options.val_logits.empty() && options.live())
    throw UsageError("--val-logits: goes with --logits; a live teacher needs none");
  if (!options.hints.empty() && !options.live())
    throw UsageError("--hint: a store holds no outputs of layers; give the network itself with --teacher");
  if (!options.weights.empty() && !options.live())
    throw UsageError(
        "--teacher-weights: goes with a live --teacher; weigh stores with `retort combine --teacher-weights`");
  check_weights("--teacher-weights", options.weights, split_commas(options.teacher).size(), "teachers");
}

/// The pictures of a run's training part.
struct Pictures {
  std::shared_ptr<const Dataset> opened, trained_on;  ///< what --data holds; of these, and of the others, all used
  UnlabelledSets unlabelled;
};

/// The classes stay where pictures of some are left out.
Pictures choose_pictures(const DistillOptions& options, const std::shared_ptr<const Dataset>& opened) {
  const TrainingOptions& training = options.training;
  Pictures pictures{opened, opened, open_unlabelled(options.unlabelled, training.data, training.common)};
  if (!options.omit_classes.empty())
    pictures.trained_on = pick_samples(opened, samples_without(*opened, options.omit_classes));
  pictures.trained_on = join_sets(pictures.trained_on, pictures.unlabelled, options.unlabelled, training.batch_size,
                                  training.common.quiet);
  return pictures;
}

/// The store of the validation part, which must come from the same teacher.
void add_val_store(const DistillOptions& options, const LogitStore& store, const Dataset& part, Guidance& guidance) {
  const std::string &path = options.teacher.val_logits, train_path = joined(options.teacher.logits);
  const TrainingOptions& training = options.training;
  const std::optional<ClassMap> map = class_map_of(options.teacher.map);
  auto [val, rows] =
      open_store(path, part.classes(), part, Split::val, training.data, training.common, map ? &*map : nullptr);
  check(path != train_path || val.names == store.names, path,
        ": its rows can't be those of the training part and those of the validation part; give each its own");
  check(val.teacher == store.teacher && val.preprocessing == store.preprocessing, path,
        ": comes from another teacher or preprocessing than ", train_path, "; make both with the same model");
  check(val.views == 1 && !val.augmentation.any(), path,
        ": holds augmented views; validation uses one centred view: make it without --views");
  // The plateau schedule follows the validation loss, of which the soft term is a part.
  if (training.schedule == ScheduleKind::plateau) guidance.fingerprint["--val-logits"] = val.logits.hash();
  guidance.val_teacher = std::make_unique<CachedTeacher>(std::move(val), std::move(rows));
  guidance.val = guidance.val_teacher.get();
}

/// The rows of the pictures that are trained on.
StoredTeacher stored_teacher(const DistillOptions& options, const Pictures& pictures) {
  const TeacherOptions& teacher = options.teacher;
  const TrainingOptions& training = options.training;
  const std::optional<ClassMap> map = class_map_of(teacher.map);
  const ClassMap* folded = map ? &*map : nullptr;
  if (teacher.logits.size() > 1 || !pictures.unlabelled.empty())
    return open_stores(teacher.logits, *pictures.trained_on, *pictures.opened, pictures.unlabelled, training.data,
                       training.common, folded);
  StoredTeacher stored = open_store(teacher.logits[0], pictures.opened->classes(), *pictures.opened, Split::train,
                                    training.data, training.common, folded);
  if (!options.omit_classes.empty()) stored = part_of(stored, samples_without(*pictures.opened, options.omit_classes));
  return stored;
}

Guidance stored_guidance(const DistillOptions& options, const TrainingData& data, const StoredTeacher& stored) {
  const TeacherOptions& teacher = options.teacher;
  const TrainingOptions& training = options.training;
  const std::string path = joined(teacher.logits);
  if (!teacher.teacher.empty())
    check_store_teacher(stored.store, path, load_teachers(teacher.teacher, compute_device(training.common)));
  const AskedViews asked{teacher.views, training.augment, training.common.seed};
  Guidance guidance = cached_guidance(path, stored, asked);
  say_unseen_views(path, stored.store, asked, training.common.quiet);
  guidance.fingerprint["--teacher"] = guidance.fingerprint["--val-logits"] = "";
  if (!teacher.val_logits.empty() && data.val) add_val_store(options, stored.store, *data.val, guidance);
  return guidance;
}

void ask_for_hints(const TeacherOptions& options, LiveTeacher& teacher, Guidance& guidance) {
  std::vector<std::string> layers;
  for (const std::string& words : options.hints) {
    guidance.hints.pairs.push_back(parse_hint(words));
    layers.push_back(guidance.hints.pairs.back().teacher);
  }
  guidance.hints.loss = options.hint_loss;
  guidance.hints.weight = options.hint_weight;
  teacher.ask_for_outputs(std::move(layers));
}

Guidance live_guidance(const DistillOptions& options, const TrainingData& data) {
  const TeacherOptions& teacher = options.teacher;
  const TrainingOptions& training = options.training;
  Guidance guidance;
  std::vector<Model> models = load_teachers(teacher.teacher, compute_device(training.common));
  for (Model& model : models) set_classes(teacher.map, model, teacher.teacher, data.train.get(), training.common.quiet);
  guidance.classes = models.front().spec.classes;
  if (data.train->labelled()) check_teacher_classes(models.front(), teacher.teacher, data.train->classes());
  guidance.notes["teacher"] = teacher_hashes(models);
  guidance.fingerprint["--teacher"] = guidance.notes["teacher"];
  guidance.fingerprint["--logits"] = "";
  guidance.views = teacher.views.value_or(0);
  guidance.augmentation = augmentation_of(training, *data.train);
  guidance.view_seed = training.common.seed;
  if (!teacher.hints.empty())
    guidance.teacher_layers = layers_of(*models.front().network, models.front().spec.preprocessing);
  std::unique_ptr<LiveTeacher> live = live_teacher(std::move(models), teacher.combine, teacher.weights);
  if (!teacher.hints.empty()) ask_for_hints(teacher, *live, guidance);
  guidance.teacher = std::move(live);
  guidance.val = guidance.teacher.get();
  return guidance;
}

std::vector<NamedFile> inputs_of(const DistillOptions& options) {
  const TeacherOptions& teacher = options.teacher;
  std::vector<NamedFile> inputs = {{"--weights", options.training.weights},
                                   {"--warm-start", options.training.warm_start},
                                   {"--class-map", teacher.map.path},
                                   {"--class-names", teacher.map.names},
                                   {"--cache", options.training.data.cache}};
  const auto add_store = [&](const char* flag, const std::string& file) {
    inputs.push_back({flag, file});
    if (file.ends_with(".npy")) inputs.push_back({flag, index_path(file)});
  };
  add_store("--val-logits", teacher.val_logits);
  for (const std::string& file : split_commas(teacher.teacher)) inputs.push_back({"--teacher", file});
  for (const std::string& file : teacher.logits) add_store("--logits", file);
  return inputs;
}

constexpr const char* kSelf = "self";

/// The file of the teacher of --teacher self: the student's own network, taught by the labels alone under the same
/// flags (born-again networks, Furlanello et al., 1805.04770). A run of it that is finished is read, a stopped one goes
/// on.
std::string first_generation(const DistillOptions& options) {
  TrainOptions first{.model = options.student, .training = options.training, .run = {}};
  first.run.out = std::filesystem::path(options.run.out).replace_extension(".self.safetensors").string();
  say(options.training.common.quiet,
      text("--teacher self: ", options.student, " first learns from the labels alone, in ", first.run.out,
           ", and teaches itself then"));
  TrainingRun run = make_run(first);
  run.resume = options.run.restart ? Resume::restart : Resume::always;
  return run_training(run).model;
}

}  // namespace

TrainingRun make_run(const DistillOptions& options) {
  TrainingOptions training = options.training;
  const bool first = begin_shared(training.common);
  const std::string student = network_to_train("--student", options.student, training);
  validate(student, training, options.objective, /*stored=*/!options.teacher.live());
  validate(options.teacher);
  validate(options.unlabelled);
  const RunFiles files = files_of(options.run);
  check_outputs(files, inputs_of(options));
  if (first) check_writable(files.model);
  TrainingRun run{.architecture = student,
                  .options = training,
                  .files = files,
                  .resume = resume_of(options.run),
                  .data = open_training_data(training, /*allow_unlabelled=*/true)};
  const std::optional<double>& lambda = options.objective.lambda;
  if (!run.data.train->labelled() && lambda.value_or(0) != 0)
    throw UsageError(
        text("--lambda: ", *lambda, " weighs labels, and ", training.data.path, " has none; use --lambda 0"));
  const Pictures pictures = choose_pictures(options, run.data.train);
  run.data.train = pictures.trained_on;
  StoredTeacher stored;
  if (!options.teacher.live()) stored = stored_teacher(options, pictures);
  run.guidance = options.teacher.live() ? live_guidance(options, run.data) : stored_guidance(options, run.data, stored);
  run.guidance.teacher_files = options.teacher.teacher;
  run.guidance.fingerprint["--class-map"] = fingerprint_of(options.teacher.map);
  run.guidance.fingerprint["--omit-classes"] = joined(options.omit_classes);
  if (!options.omit_classes.empty()) run.guidance.notes["omitted"] = joined(options.omit_classes);
  TeacherOptions teacher = options.teacher;
  visit_flags(teacher, PrintFlags{.fingerprint = run.guidance.fingerprint});
  set_unlabelled(options.unlabelled, pictures.unlabelled, run.guidance);
  settle_length(run);
  set_objective(options.objective, training, *run.data.train, run.guidance);
  if (!options.teacher.live()) say_teacher(stored, *run.data.train, run.guidance.settings, training.common.quiet);
  return run;
}

void add_distill_command(CLI::App& app) {
  add_command<DistillOptions>(app, "distill", "Trains a student on soft and hard targets", [](DistillOptions& options) {
    std::string& teacher = options.teacher.teacher;
    CountedRun counted(options.run.counters, compute_device(options.training.common));
    if (teacher == kSelf && options.teacher.live()) teacher = first_generation(options);
    const TrainingOutcome outcome = run_training(make_run(options));
    counted.write();
    if (options.training.common.json) print_outcome_json(outcome);
  });
}

}  // namespace retort
