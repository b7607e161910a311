// retort specialists: Hinton et al. (arXiv 1503.02531), section 5, end to end. Groups the classes that a generalist
// confuses, trains a specialist for each group from the generalist, lets them and the generalist agree on one
// distribution for each image, and distils that into one student.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/core/check.h"
#include "engine/data/dustbin.h"
#include "engine/distill/evaluate.h"
#include "engine/distill/specialists.h"
#include "engine/group/group.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/distillation.h"
#include "tools/run/ranks.h"
#include "tools/run/recipe.h"
#include "tools/run/teachers.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

struct SpecialistsOptions {
  std::string model, student;
  TrainingOptions training;  ///< of the student
  RunOptions run;            ///< --out is a folder
  ObjectiveOptions objective;
  UnlabelledOptions unlabelled;
  std::optional<std::int64_t> views, groups;  ///< groups: none: the square root of the classes, rounded
  std::int64_t specialist_epochs = 5;
  std::optional<double> specialist_lr;

  std::string file(const std::string& name) const { return (std::filesystem::path(run.out) / name).string(); }
};

/// The settings of the runs say what determines their bits; these rows only choose the runs.
template <class Visitor>
void visit_flags(SpecialistsOptions& o, Visitor&& flag) {
  flag("--model", o.model, "The generalist's model file", required(anything()));
  flag("--student", o.student, "Architecture, e.g. inception_v3", required(anything()));
  visit_flags(o.training.common, flag);
  visit_flags(o.training.data, flag);
  visit_flags(
      o.run, flag,
      RunFlags{.folder = "Folder for the specialists, their logits, the student and specialists.md", .resume = false});
  visit_flags(o.training, flag, "Of the specialists' images and of the views: none, or a list of flip, crop, jitter");
  visit_flags(o.objective, flag,
              ObjectiveFlags{.temperature = "T > 0, of the groups and of the student",
                             .lambda = "The student's weight of the labels, in [0, 1]"});
  visit_flags(o.unlabelled, flag);
  flag("--views", o.views, "Augmented views of each image in the student's store (default: 1)", whole_number(1));
  flag("--groups", o.groups, "Groups of classes (default: the root of their number)", whole_number(2));
  flag("--specialist-epochs", o.specialist_epochs, "Passes over a specialist's images", whole_number(1));
  flag("--specialist-lr", o.specialist_lr, "Their peak learning rate (default: a tenth of --lr)", number_above(0));
}

/// What the specialists train on, and what the views of the student's store are made by; as in `logits`.
Augmentation augmentation_of(const SpecialistsOptions& options, const Dataset& train) {
  if (options.training.augment) return parse_augmentation(*options.training.augment);
  return options.views.value_or(1) > 1 ? default_augmentation(train) : Augmentation{};
}

/// A specialist trains as the student does, but for its length and rate, and sees what the generalist sees.
TrainingOptions specialist_training(const SpecialistsOptions& options) {
  TrainingOptions training = options.training;
  training.epochs = options.specialist_epochs;
  training.warmup_epochs = 0;
  training.mixup = 0;
  training.freeze.clear();
  training.auxiliary = false;
  training.lr = options.specialist_lr.value_or(lr_of(options.training) / 10);
  training.data.image_size = {};
  training.data.mean = training.data.std = {};
  return training;
}

std::string join(const std::vector<std::int64_t>& group, const std::vector<std::string>& classes) {
  std::string names;
  for (const std::int64_t i : group) names += (names.empty() ? "" : ", ") + classes[static_cast<std::size_t>(i)];
  return names;
}

/// The generalist with a head for some of its classes and the dustbin, which begins as the mean of all others, raised
/// by the logarithm of their number.
void write_start(const std::string& path, Model& generalist, const std::vector<std::int64_t>& group,
                 const std::vector<std::string>& names, std::uint64_t seed) {
  ModelSpec spec = generalist.spec;
  spec.classes = names;
  spec.auxiliary = false;
  spec.notes.clear();
  const std::unique_ptr<Network> network = make_network(spec, seed);
  std::map<std::string, Parameter*> source;
  for (Parameter* parameter : parameters(*generalist.network)) source[parameter->name] = parameter;
  const Head head = head_of(*network), old = head_of(*generalist.network);
  for (Parameter* parameter : parameters(*network))
    if (parameter != head.weight && parameter != head.bias)
      parameter->value.copy_from(source.at(parameter->name)->value);

  const std::int64_t all = old.bias->value.count(), mine = head.bias->value.count(),
                     features = head.weight->value.shape()[0];
  const std::int64_t others = all - static_cast<std::int64_t>(group.size());
  const auto fill = [&](const float* from, float* to) {
    double rest = 0;
    for (std::int64_t i = 0; i < all; ++i)
      if (!std::ranges::binary_search(group, i)) rest += from[i];
    for (std::size_t k = 0; k < group.size(); ++k) to[k] = from[group[k]];
    to[mine - 1] = static_cast<float>(rest / static_cast<double>(others));
  };
  for (std::int64_t row = 0; row < features; ++row)
    fill(old.weight->value.data<float>() + row * all, head.weight->value.data<float>() + row * mine);
  fill(old.bias->value.data<float>(), head.bias->value.data<float>());
  head.bias->value.data<float>()[mine - 1] += static_cast<float>(std::log(static_cast<double>(others)));
  save_model(path, *network, spec);
}

/// How images are seen: the validation part once and centred.
struct Views {
  std::int64_t count = 1;
  Augmentation augmentation = {};
};

/// A model's logits [views * samples, classes] of all images.
Tensor logits_of(const std::string& file, const Dataset& dataset, const SpecialistsOptions& options,
                 const std::string& label, const Views& views = {}) {
  std::vector<Model> models = load_teachers(file, compute_device(options.training.common));
  const auto classes = static_cast<std::int64_t>(models.front().spec.classes.size());
  const std::unique_ptr<LiveTeacher> teacher = live_teacher(std::move(models), Combine::logit);
  LoaderOptions loading;
  loading.batch_size = images_at_a_time(options.training);
  loading.workers = std::clamp(num_threads(), 1, 4);
  loading.augmentation = views.augmentation;
  loading.view_seed = options.training.common.seed;
  Progress bar(label, dataset.size() * views.count, options.training.common.quiet);
  return collect_logits(*teacher, dataset, classes, loading, views.count, [&](std::int64_t done) {
    if (group().any(interrupted())) throw Interrupted{.of_all = true};
    bar.update(done);
  });
}

/// A specialist's run. It starts from the generalist, in a file that is written here.
TrainingRun make_run(const SpecialistsOptions& options, const std::string& name, Model& generalist,
                     const std::vector<std::int64_t>& group, SpecialistSet set, const Views& views) {
  TrainingRun run{.architecture = generalist.spec.architecture,
                  .options = specialist_training(options),
                  .files = RunFiles{.model = options.file(name + ".safetensors"), .log = {}, .report = {}},
                  .resume = Resume::always};
  run.options.weights = options.file(name + ".start.safetensors");
  const std::uint64_t seed = run.options.common.seed;
  write_start(run.options.weights, generalist, group, set.images->classes(), seed);
  run.data.train = std::move(set.images);
  run.guidance.augmentation = views.augmentation;
  run.guidance.view_seed = seed;
  run.guidance.fingerprint["generalist"] = generalist.hash();
  return run;
}

/// The generalist, and what became of its confusions, on both parts of the data.
struct Committee {
  std::vector<std::vector<std::int64_t>> groups;
  std::vector<std::string> hashes;           ///< of the generalist's and the specialists' files
  Tensor generalist_val;                     ///< logits f32 [n, classes]
  std::vector<SpecialistLogits> train, val;  ///< one a group of two classes or more; train: pictures without labels too
};

/// The specialists' runs are handed to the group's ranks. What they leave in the folder rank 0 finds finished.
void train_share(const SpecialistsOptions& options, Model& generalist, const std::shared_ptr<const Dataset>& train,
                 const Tensor& of_generalist, std::int64_t groups, const Views& views) {
  const std::uint64_t seed = options.training.common.seed;
  RunShare share;
  std::int64_t number = 0;
  for (const std::vector<std::int64_t>& group :
       confusable_classes(of_generalist, options.objective.temperature, groups, seed)) {
    const std::string name = text("specialist-", ++number);
    if (group.size() == 1) continue;
    share.train([&] { return make_run(options, name, generalist, group, specialist_set(train, group, seed), views); });
  }
  group().barrier();
}

/// Specialists learn from `train`. Their logits are those of `pictures`, which hold the ones without labels too, as are
/// the generalist's.
Committee train_specialists(const SpecialistsOptions& options, Model& generalist,
                            const std::shared_ptr<const Dataset>& train, const Dataset& pictures, const Dataset& val,
                            const Tensor& of_generalist, std::int64_t groups, const Views& views) {
  const std::vector<std::string>& classes = train->classes();
  const bool quiet = options.training.common.quiet;
  const std::uint64_t seed = options.training.common.seed;
  Committee committee;
  committee.groups = confusable_classes(of_generalist, options.objective.temperature, groups, seed);
  committee.hashes = {generalist.hash()};
  for (std::size_t i = 0; i < committee.groups.size(); ++i) {
    const std::vector<std::int64_t>& group = committee.groups[i];
    const std::string name = text("specialist-", i + 1);
    say(quiet, text(name, ": ", join(group, classes), group.size() == 1 ? " (alone: left to the generalist)" : ""));
    if (group.size() == 1) continue;
    SpecialistSet set = specialist_set(train, group, seed);
    const double correction = std::log(set.oversampling);
    const TrainingRun run = make_run(options, name, generalist, group, std::move(set), views);
    run_training(run);
    std::filesystem::remove(run.options.weights);
    committee.hashes.push_back(file_hash(run.files.model));
    const auto logits = [&](const Dataset& part, const Views& seen) {
      SpecialistLogits result{group, logits_of(run.files.model, part, options, name, seen)};
      const std::int64_t width = result.logits.shape()[1];
      for (std::int64_t row = 0; row < result.logits.shape()[0]; ++row)
        result.logits.data<float>()[(row + 1) * width - 1] += static_cast<float>(correction);
      return result;
    };
    committee.train.push_back(logits(pictures, views));
    committee.val.push_back(logits(val, {}));
  }
  return committee;
}

void write_store(const std::string& path, const Dataset& dataset, const Tensor& logits, const Committee& committee,
                 const Preprocessing& preprocessing, const Views& views, std::uint64_t seed) {
  LogitStore store;
  store.logits = logits;
  store.classes = dataset.classes();
  for (const std::string& hash : committee.hashes) store.teacher += (store.teacher.empty() ? "" : ",") + hash;
  store.preprocessing.assign(committee.hashes.size(), preprocessing);
  store.combine = "specialists";
  store.views = views.count;
  store.augmentation = views.augmentation;
  store.seed = seed;
  for (std::int64_t view = 0; view < views.count; ++view)
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      store.names.push_back(dataset.name(i));
      store.hashes.push_back(dataset.content_hash(i));
    }
  write_logit_store(path, store, "");
}

Evaluation measure(const Tensor& logits, const Dataset& dataset) {
  Tensor labels = Tensor::empty({dataset.size()}, DType::i64);
  for (std::int64_t i = 0; i < dataset.size(); ++i) labels.data<std::int64_t>()[i] = dataset.label(i);
  Metrics metrics(logits.shape()[1]);
  metrics.add(logits, labels);
  return metrics.result();
}

std::string page(const Committee& committee, const std::vector<std::string>& classes, const Json& results) {
  std::string lines = "| group | classes |\n|---|---|\n";
  for (std::size_t i = 0; i < committee.groups.size(); ++i)
    lines += text("| ", i + 1, " | ", join(committee.groups[i], classes),
                  committee.groups[i].size() == 1 ? " (alone: no specialist)" : "", " |\n");
  lines += "\n| on the validation part | accuracy, % | cross-entropy |\n|---|---|---|\n";
  for (const auto& [key, words] :
       {std::pair{"generalist", "the generalist"}, std::pair{"combined", "generalist and specialists"},
        std::pair{"student", "the student distilled from them"}})
    lines += text("| ", words, " | ", 100 * results.at(key).at("accuracy").get<double>(), " | ",
                  results.at(key).at("cross_entropy").get<double>(), " |\n");
  return lines;
}

/// How many groups are made of the classes. Throws UsageError for classes that cannot be so grouped.
std::int64_t groups_of(const SpecialistsOptions& options, std::int64_t classes) {
  if (classes < 3) throw UsageError("specialists: two classes leave nothing to specialise in; it takes three or more");
  const std::int64_t root = std::lround(std::sqrt(static_cast<double>(classes)));
  const std::int64_t groups = options.groups.value_or(std::max<std::int64_t>(2, root));
  if (groups > classes) throw UsageError(text("--groups: ", groups, " is not allowed; give 2 to ", classes));
  return groups;
}

/// The student's run on the pictures with labels and those without, taught by the stores that the committee wrote.
/// `labelled`: the former alone.
TrainingRun make_run(const SpecialistsOptions& options, const TrainingData& data, const Dataset& labelled,
                     const UnlabelledSets& unlabelled, const std::string& train_store, const std::string& val_store) {
  const TrainingOptions& training = options.training;
  const StoredTeacher stored =
      open_stores({train_store}, *data.train, labelled, unlabelled, training.data, training.common);
  TrainingRun run{.architecture = options.student,
                  .options = training,
                  .files = RunFiles{.model = options.file("student.safetensors"),
                                    .log = options.run.log,
                                    .report = options.run.report,
                                    .tensorboard = options.run.tensorboard},
                  .resume = Resume::always,
                  .data = data,
                  .guidance = cached_guidance(train_store, stored, {})};
  run.guidance.val_teacher = cached_teacher(val_store, *data.val);
  run.guidance.val = run.guidance.val_teacher.get();
  set_unlabelled(options.unlabelled, unlabelled, run.guidance);
  settle_length(run);
  set_objective(options.objective, training, *data.train, run.guidance);
  say_teacher(stored, *data.train, run.guidance.settings, training.common.quiet);
  return run;
}

Json group_names(const Committee& committee, const std::vector<std::string>& classes) {
  Json groups = Json::array();
  for (const auto& group : committee.groups) {
    Json& list = groups.emplace_back(Json::array());
    for (const std::int64_t i : group) list.push_back(classes[static_cast<std::size_t>(i)]);
  }
  return groups;
}

void run_specialists(const SpecialistsOptions& given) {
  SpecialistsOptions options = given;
  const bool first = begin_shared(options.training.common);
  const TrainingOptions& training = options.training;
  validate(options.student, training, options.objective, /*stored=*/true);
  validate(options.unlabelled);
  check_outputs({.model = options.file("student.safetensors"), .log = options.run.log, .report = options.run.report},
                {{"--model", options.model},
                 {"--weights", training.weights},
                 {"--warm-start", training.warm_start},
                 {"--cache", training.data.cache}});
  std::optional<FileLock> lock;
  if (first) {
    lock.emplace(options.file("specialists.md"));
    check_writable(options.file("specialists.md"));
  }
  catch_interrupts();
  TrainingData data = open_training_data(training, /*allow_unlabelled=*/false);
  if (!data.val) throw UsageError("--val-split: 0 leaves no images to report on; give a share such as 0.1");
  const std::shared_ptr<const Dataset> labelled = data.train;
  const UnlabelledSets unlabelled = open_unlabelled(options.unlabelled, training.data, training.common);
  data.train = join_sets(labelled, unlabelled, options.unlabelled, training.batch_size, training.common.quiet);
  for (const Dataset* part : {data.train.get(), data.val.get()})
    for (std::int64_t i = 0; i < part->size(); ++i) check_storable({part->name(i)}, options.run.out);
  Model generalist = load_model(options.model);
  generalist.recorded_hash = generalist.hash();  // each specialist's run asks for it
  check_teacher_classes(generalist, options.model, data.train->classes());
  const std::int64_t groups = groups_of(options, static_cast<std::int64_t>(data.train->classes().size()));

  const Views views{options.views.value_or(1), augmentation_of(options, *data.train)};
  check_command({data.train.get(), data.val.get()});
  const Tensor of_generalist = logits_of(options.model, *data.train, options, "generalist", views);
  if (group().size() > 1) {
    train_share(options, generalist, labelled, of_generalist, groups, views);
    if (!first) return;
  }
  const Alone alone;
  Committee committee =
      train_specialists(options, generalist, labelled, *data.train, *data.val, of_generalist, groups, views);
  committee.generalist_val = logits_of(options.model, *data.val, options, "generalist");
  const Tensor combined_val = combine_with_specialists(committee.generalist_val, committee.val);
  const Preprocessing& seen = generalist.spec.preprocessing;
  const std::uint64_t seed = training.common.seed;
  const std::string train_store = options.file("train.npy"), val_store = options.file("val.npy");
  write_store(train_store, *data.train, combine_with_specialists(of_generalist, committee.train), committee, seen,
              views, seed);
  write_store(val_store, *data.val, combined_val, committee, seen, {}, seed);
  const TrainingOutcome student = run_training(make_run(options, data, *labelled, unlabelled, train_store, val_store));

  const auto as_json = [](const Evaluation& result) {
    return Json{{"accuracy", result.accuracy}, {"cross_entropy", result.cross_entropy}};
  };
  Json results = {{"groups", group_names(committee, data.val->classes())}};
  results["generalist"] = as_json(measure(committee.generalist_val, *data.val));
  results["combined"] = as_json(measure(combined_val, *data.val));
  results["student"] = as_json(measure(logits_of(student.model, *data.val, options, "student"), *data.val));
  const std::string table = page(committee, data.val->classes(), results);
  write_atomic(options.file("specialists.md"), table);
  std::cout << (training.common.json ? json_text(results) + "\n" : table) << std::flush;
}

}  // namespace

void add_specialists_command(CLI::App& app) {
  add_command<SpecialistsOptions>(app, "specialists", "Specialists for confusable classes, distilled into one student",
                                  run_specialists);
}

}  // namespace retort
