// retort logits: writes the logit store of a teacher, or of several combined.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/logits.h"
#include "tools/run/recipe.h"
#include "tools/run/teachers.h"
#include "tools/run/training.h"

namespace retort {

template <class Visitor>
void visit_flags(LogitsOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = kSplitHelp});
  flag("--model", o.model, "FILE[,FILE...]", required(anything()));
  flag("--combine", o.combine, "{}", one_of(kCombines));
  flag("--teacher-weights", o.teacher_weights, "One for each model (default: equal)", number_above(0));
  visit_flags(o.map, flag);
  flag("--views", o.views, "Augmented views of each image", whole_number(1));
  flag("--augment", o.augment,
       "Of the views: none, or flip, crop, jitter (default with K > 1: crop,flip; grey sets: jitter)", anything());
  flag("--batch-size", o.batch_size, "Images at a time", whole_number(1));
  flag("-o,--out", o.out, "Store to write (.npy; its index .json beside it)", required(file_name(".npy")));
  flag("--csv", o.csv, "The same logits as a table", anything());
}

namespace {

LogitStore describe(const LogitsOptions& options, const Dataset& dataset, const std::vector<Model>& models) {
  LogitStore store;
  store.classes = models.front().spec.classes;
  store.teacher = teacher_hashes(models);
  store.preprocessing = teacher_preprocessing(models);
  store.views = options.views;
  store.seed = options.common.seed;
  store.combine = models.size() > 1 ? one_of(kCombines).word_of(options.combine) : "";
  if (options.augment)
    store.augmentation = parse_augmentation(*options.augment);
  else if (options.views > 1)
    store.augmentation = default_augmentation(dataset);
  std::vector<std::string> hashes;
  for (std::int64_t i = 0; i < dataset.size(); ++i) hashes.push_back(dataset.content_hash(i));
  for (std::int64_t view = 0; view < options.views; ++view)
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      store.names.push_back(dataset.name(i));
      store.hashes.push_back(hashes[i]);
    }
  return store;
}

}  // namespace

void run_logits(const LogitsOptions& options) {
  apply_common_options(options.common);
  check_weights("--teacher-weights", options.teacher_weights, split_commas(options.model).size(), "teachers");
  const std::string index = std::filesystem::path(options.out).replace_extension(".json").string();
  std::vector<NamedFile> models_read;
  for (const std::string& file : split_commas(options.model)) models_read.push_back({"--model", file});
  check_outputs({{"--out", options.out}, {"--out", index}, {"--csv", options.csv}}, models_read);
  const FileLock lock(options.out);
  check_store_writable(options.out);
  if (!options.csv.empty()) check_writable(options.csv);

  const auto dataset = open_data(options.data, options.common, options.data.split.value_or(Split::train),
                                 /*allow_unlabelled=*/true);
  for (std::int64_t i = 0; i < dataset->size(); ++i) check_storable({dataset->name(i)}, options.out);
  std::vector<Model> models = load_teachers(options.model, compute_device(options.common));
  for (Model& model : models) {
    if (!options.data.mean.empty()) forget_advice(model, "--mean");
    set_classes(options.map, model, options.model, dataset.get(), options.common.quiet);
  }
  if (dataset->labelled()) check_teacher_classes(models.front(), options.model, dataset->classes());
  for (Model& model : models) model.spec.preprocessing = preprocessing_for(options.data, model.spec.preprocessing);
  LogitStore store = describe(options, *dataset, models);
  const std::int64_t classes = static_cast<std::int64_t>(store.classes.size());
  const std::unique_ptr<LiveTeacher> teacher =
      live_teacher(std::move(models), options.combine, options.teacher_weights);

  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.workers = std::min(4, num_threads());
  loading.augmentation = store.augmentation;
  loading.view_seed = store.seed;
  const auto start = std::chrono::steady_clock::now();
  catch_interrupts();
  {
    Progress bar("logits", dataset->size() * options.views, options.common.quiet);
    store.logits = collect_logits(*teacher, *dataset, classes, loading, options.views, [&](std::int64_t done) {
      if (interrupted()) throw Interrupted{};
      bar.update(done);
    });
  }
  write_logit_store(options.out, store, options.csv);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::int64_t rows = store.logits.shape()[0];
  const std::int64_t images = rows / options.views;
  std::string table;
  if (!options.csv.empty())
    table = options.views > 1 ? text("; of the first view ", images, " rows in ", options.csv) : " and " + options.csv;
  say(options.common.quiet, text("saved ", rows, " rows of ", classes, " logits",
                                 options.views > 1 ? text(" (", options.views, " views of ", images, " images)") : "",
                                 " in ", options.out, table));
  if (options.common.json) {
    nlohmann::ordered_json json = {{"data", data_json(*dataset)}, {"rows", rows},
                                   {"classes", store.classes},    {"views", options.views},
                                   {"logits", options.out},       {"images_per_second", rows / seconds},
                                   {"seconds", seconds}};
    if (!options.csv.empty()) json["csv"] = options.csv;
    std::cout << json_text(json) << std::endl;
  }
}

void add_logits_command(CLI::App& app) {
  add_command<LogitsOptions>(app, "logits", "Writes the logit store of one model, or of several combined", run_logits);
}

}  // namespace retort
