// retort predict: the most probable classes of images, at T = 1.
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/picture_files.h"
#include "tools/run/predictions.h"

namespace retort {
namespace {

struct PredictOptions {
  CommonOptions common;
  DataOptions data;
  ClassMapOptions map;
  std::string model, weights;
  std::vector<std::string> images;
  std::int64_t top = 5;
  std::string csv;
  bool wrong_only = false;
};

template <class Visitor>
void visit_flags(PredictOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  visit_flags(o.data, flag, {.required = false, .split = "{} (default: both together)"});
  flag("--model", o.model, "Model file, or an architecture with --weights", required(anything()));
  flag("--weights", o.weights, "Checkpoint without metadata, for --model ARCH", anything());
  visit_flags(o.map, flag);
  flag("IMAGE", o.images, "Image files, or folders of them; - for a picture on standard input", anything());
  flag("--top", o.top, "Classes to name for each image", whole_number(1));
  flag("--csv", o.csv, "Table to write: name, true class where known, prediction, every class's probability",
       file_name(".csv"));
  flag("--wrong-only", o.wrong_only, "Only images of which the label says otherwise; --data with class folders",
       anything());
}

std::unique_ptr<Dataset> open_images(const PredictOptions& options) {
  if (options.images.empty() == options.data.path.empty())
    throw UsageError("IMAGE: give image files or folders, or --data PATH, one of the two");
  if (options.data.path.empty() && !options.data.cache.empty())
    throw UsageError("--cache: goes with --data; leave it out for single files");
  if (options.data.path.empty())
    return std::make_unique<PictureFiles>(expand_pictures(options.images, options.common.quiet), options.data.skip_bad);
  return open_data(options.data, options.common, options.data.split.value_or(Split::train), /*allow_unlabelled=*/true,
                   /*whole=*/!options.data.split);
}

/// A set whose labels are another model's matter.
class Unlabelled : public Dataset {
 public:
  explicit Unlabelled(const Dataset& source) : source_(source) { reading_ = source.reading(); }
  std::int64_t size() const override { return source_.size(); }
  const std::string& name(std::int64_t index) const override { return source_.name(index); }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t index) const override { return source_.load(index); }
  std::string content_hash(std::int64_t index) const override { return source_.content_hash(index); }

 private:
  const Dataset& source_;
};

void run_predict(const PredictOptions& options) {
  apply_common_options(options.common);
  if (!options.csv.empty()) check_writable(options.csv);
  const std::unique_ptr<Dataset> dataset = open_images(options);
  if (options.wrong_only && !dataset->labelled())
    throw UsageError("--wrong-only: these images have no labels; give --data PATH with class folders");
  // The labels mean something where the classes are the model's.
  const Model model = open_model(options.model, options.weights, options.data,
                                 options.wrong_only ? dataset.get() : nullptr, options.common, options.map);
  const std::vector<std::string>& classes = model.spec.classes;
  const bool labels_known = dataset->labelled() && dataset->classes() == classes;
  const auto count = static_cast<std::int64_t>(classes.size());
  const std::int64_t top = std::min(options.top, count);
  catch_interrupts();
  const auto predictions = predict(model, *dataset, options.csv.empty() ? top : count, options.common.quiet);
  const Unlabelled unlabelled(*dataset);
  Told told{labels_known ? *dataset : static_cast<const Dataset&>(unlabelled), classes, predictions, {}};
  for (std::int64_t i = 0; i < dataset->size(); ++i)
    if (!options.wrong_only || wrong(told.dataset, i, predictions[i])) told.shown.push_back(i);
  if (!options.csv.empty()) {
    write_atomic(options.csv, predictions_csv(told));
    say(options.common.quiet, text("saved ", told.shown.size(), " rows in ", options.csv));
  }
  if (options.common.json) {
    nlohmann::ordered_json json = predictions_json(told, top);
    if (nlohmann::ordered_json data = data_json(told.dataset); !data.is_null()) json["data"] = std::move(data);
    std::cout << json_text(json) << std::endl;
  } else {
    print_predictions(told, top);
  }
  if (options.wrong_only)
    say(options.common.quiet, text(told.shown.size(), " of ", dataset->size(), " images are taken for another class"));
}

}  // namespace

void add_predict_command(CLI::App& app) {
  add_command<PredictOptions>(app, "predict", "Classes and probabilities of images, at T = 1", run_predict);
}

}  // namespace retort
