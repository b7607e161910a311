// retort logits: writes the logit store of a teacher, or of several combined.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "engine/core/check.h"
#include "engine/distill/evaluate.h"
#include "engine/distill/partial_logits.h"
#include "engine/group/group.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "kernels/memory.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/logits.h"
#include "tools/run/ranks.h"
#include "tools/run/recipe.h"
#include "tools/run/teachers.h"
#include "tools/run/training.h"

namespace retort {

namespace {

constexpr Word<bool> kStoreTypes[] = {{false, "f32"}, {true, "f16"}};

}  // namespace

template <class Visitor>
void visit_flags(LogitsOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.split = kSplitHelp});
  flag("--no-labels", o.no_labels,
       "Folders in --data are no classes: all of its pictures are scored, whatever the part", anything());
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
  flag("--dtype", o.half, "Of the numbers in the store: {}", one_of(kStoreTypes));
  flag("--top-k", o.top, "Store the K highest logits of each row, and the others' probability (default: all logits)",
       whole_number(1));
  flag("--resume", o.resume, "Go on where a run of the same command was stopped", anything());
  flag("--restart", o.restart, "Throw a stopped run's rows away and begin anew", anything());
}

namespace {

std::unique_ptr<Dataset> open_pictures(const LogitsOptions& options) {
  if (!options.no_labels)
    return open_data(options.data, options.common, options.data.split.value_or(Split::train),
                     /*allow_unlabelled=*/true);
  if (options.data.split) throw UsageError("--no-labels: takes the pictures of every part; leave --split out");
  if (!options.data.classes.empty()) throw UsageError("--no-labels: reads no classes; leave --classes out");
  return open_data(options.data, options.common, Split::train, /*allow_unlabelled=*/true, /*whole=*/true);
}

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

/// What determines the bits of the rows.
Fingerprint fingerprint_of(const LogitsOptions& options, const LogitStore& store) {
  std::string preprocessing, pictures;
  for (const Preprocessing& p : store.preprocessing)
    preprocessing += text(p.image_size, " ", p.channels, " ", flag_text(p.mean), " ", flag_text(p.std), "; ");
  for (std::size_t i = 0; i < store.names.size() / static_cast<std::size_t>(store.views); ++i)
    pictures += store.names[i] + '\n' + store.hashes[i] + '\n';
  return {{"--model", store.teacher},
          {"--combine", store.combine},
          {"--teacher-weights", flag_text(options.teacher_weights)},
          {"--class-map", retort::fingerprint_of(options.map)},
          {"--class-names", joined(store.classes)},
          {"--image-size, --mean or --std", preprocessing},
          {"--data, or its pictures,",
           content_hash({reinterpret_cast<const std::uint8_t*>(pictures.data()), pictures.size()})},
          {"--views", std::to_string(store.views)},
          {"--augment", format_augmentation(store.augmentation)},
          {"--seed", store.augmentation.any() ? std::to_string(store.seed) : ""},
          {"--batch-size", std::to_string(options.batch_size)},
          {"--device", to_string(compute_device(options.common))}};
}

/// The rows that are there already, or none. Throws Error where they are there and not asked for.
std::unique_ptr<PartialLogits> resume_or_begin(const LogitsOptions& options, const LogitStore& store,
                                               const Fingerprint& fingerprint) {
  const std::string partial = PartialLogits::path_of(options.out);
  if (options.restart) remove_file(partial);
  check(options.resume || !std::filesystem::exists(partial), partial,
        ": the logits of a run that is not finished; continue it with --resume, or throw them away with --restart");
  const bool quiet = options.common.quiet;
  if (options.resume && !std::filesystem::exists(partial))
    say(quiet, text(partial, ": not there; starting from the beginning"));
  auto rows =
      std::make_unique<PartialLogits>(options.out, fingerprint, static_cast<std::int64_t>(store.classes.size()));
  if (rows->rows() > 0)
    say(quiet, text("resumed from ", partial, ": ", rows->rows(), " of ", store.names.size(), " rows are there"));
  return rows;
}

}  // namespace

void run_logits(const LogitsOptions& given) {
  LogitsOptions options = given;
  const bool first = begin_shared(options.common);
  check_weights("--teacher-weights", options.teacher_weights, split_commas(options.model).size(), "teachers");
  std::vector<NamedFile> read = {
      {"--class-map", options.map.path}, {"--class-names", options.map.names}, {"--cache", options.data.cache}};
  for (const std::string& file : split_commas(options.model)) read.push_back({"--model", file});
  if (options.resume && options.restart)
    throw UsageError("--restart: throws away what --resume continues; give one of them");
  const std::string partial = PartialLogits::path_of(options.out);
  check_outputs(
      {{"--out", options.out}, {"--out", index_path(options.out)}, {"--out", partial}, {"--csv", options.csv}}, read);
  std::optional<FileLock> lock;
  if (first) {
    lock.emplace(options.out);
    check_store_writable(options.out);
    if (!options.csv.empty()) check_writable(options.csv);
  }

  const auto dataset = open_pictures(options);
  const bool labelled = !options.no_labels && dataset->labelled();
  for (std::int64_t i = 0; i < dataset->size(); ++i) check_storable({dataset->name(i)}, options.out);
  std::vector<Model> models = load_teachers(options.model, compute_device(options.common));
  for (Model& model : models) {
    if (!options.data.mean.empty()) forget_advice(model, "--mean");
    set_classes(options.map, model, options.model, labelled ? dataset.get() : nullptr, options.common.quiet);
  }
  if (labelled) check_teacher_classes(models.front(), options.model, dataset->classes());
  for (Model& model : models) model.spec.preprocessing = preprocessing_for(options.data, model.spec.preprocessing);
  LogitStore store = describe(options, *dataset, models);
  const std::int64_t classes = static_cast<std::int64_t>(store.classes.size());
  if (options.top && *options.top >= classes)
    throw UsageError(text("--top-k: ", *options.top, " of ", classes, " classes are all of them; leave it out"));
  const std::unique_ptr<LiveTeacher> teacher =
      live_teacher(std::move(models), options.combine, options.teacher_weights);

  LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.workers = std::min(4, num_threads());
  loading.augmentation = store.augmentation;
  loading.view_seed = store.seed;
  const auto start = std::chrono::steady_clock::now();
  check_teacher_fits(*teacher, *dataset, loading);
  const Fingerprint fingerprint = fingerprint_of(options, store);
  check_ranks(fingerprint);
  const std::unique_ptr<PartialLogits> rows = first ? resume_or_begin(options, store, fingerprint) : nullptr;
  std::int64_t before = rows ? rows->rows() : 0;
  group().broadcast(std::as_writable_bytes(std::span(&before, 1)));
  const std::int64_t images = dataset->size(), wanted = images * options.views;
  catch_interrupts();
  std::optional<Progress> bar;
  bar.emplace("logits", wanted, options.common.quiet);
  std::int64_t done = before;
  run_teacher(*teacher, *dataset, loading, options.views, before, [&](const Tensor& logits) {
    if (rows) rows->add(logits);
    bar->update(done += logits.shape()[0]);
    return !interrupted();
  });
  bar.reset();
  if (!first) {
    if (done < wanted) throw Interrupted{.of_all = true};
    return;
  }
  if (done < wanted) {
    const char* const how = options.resume    ? ""
                            : options.restart ? " and --resume in place of --restart"
                                              : " and --resume";
    say(false, text("stopped; continue with the same command", how, " (", done, " rows are in ", partial, ")"));
    throw Interrupted{.of_all = true};
  }
  write_logit_store(options.out, store, [&](const LogitSink& sink) { rows->read(sink); }, options.csv,
                    {.half = options.half, .top = options.top.value_or(0)});
  rows->remove();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::string table;
  if (!options.csv.empty())
    table = options.views > 1 ? text("; of the first view ", images, " rows in ", options.csv) : " and " + options.csv;
  say(options.common.quiet, text("saved ", wanted, " rows of ", classes, " logits",
                                 options.views > 1 ? text(" (", options.views, " views of ", images, " images)") : "",
                                 " in ", options.out, table));
  if (options.common.json) {
    nlohmann::ordered_json json = {{"data", data_json(*dataset)}, {"rows", wanted},
                                   {"classes", store.classes},    {"views", options.views},
                                   {"logits", options.out},       {"images_per_second", (wanted - before) / seconds},
                                   {"seconds", seconds}};
    if (!options.csv.empty()) json["csv"] = options.csv;
    std::cout << json_text(json) << std::endl;
  }
}

void add_logits_command(CLI::App& app) {
  add_command<LogitsOptions>(app, "logits", "Writes the logit store of one model, or of several combined", run_logits);
}

}  // namespace retort
