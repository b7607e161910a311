#include "tools/cli/options.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/core/check.h"
#include "engine/group/group.h"
#include "kernels/conv2d.h"
#include "kernels/memory.h"
#include "kernels/threads.h"
#include "models/checkpoint.h"
#include "tools/cli/at_work.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

void check_channels(const char* flag, const std::vector<double>& values, std::int64_t channels) {
  if (static_cast<std::int64_t>(values.size()) != channels)
    throw UsageError(text(flag, ": ", values.size(), " values for ", channels, " channels; give one for each channel"));
}

void check_classes(const Model& model, const std::string& path, const Dataset& dataset, const std::string& data) {
  const std::vector<std::string>& own = model.spec.classes;
  const std::vector<std::string>& found = dataset.classes();
  check(own.size() == found.size(), data, ": has ", found.size(), " classes where ", path, " has ", own.size(),
        "; use the data that it was trained for, or --classes for a part of the data");
  for (std::size_t i = 0; i < own.size(); ++i)
    check(own[i] == found[i], data, ": class ", i, " is '", found[i], "' where ", path, " has '", own[i],
          "'; give the model's order with --classes");
}

Model build_and_load(const std::string& architecture, const std::string& weights, const DataOptions& data,
                     const Dataset* dataset, const CommonOptions& common) {
  const TensorFile file = read_checkpoint(weights).file;
  Model model;
  model.spec.architecture = architecture;
  model.spec.classes =
      dataset && dataset->labelled() ? dataset->classes() : numbered_classes(head_classes(file, weights));
  model.spec.auxiliary = architecture == "inception_v3" && has_auxiliary_head(file);
  model.spec.preprocessing = preprocessing_of(architecture, weights, data, dataset);
  model.network = make_network(model.spec, common.seed);
  for (const std::string& line : load_weights(*model.network, model.spec, weights, /*replace_head=*/false).lines)
    say(common.quiet, line);
  return model;
}

}  // namespace

Device compute_device(const CommonOptions& options) {
  if (!options.device) return device_available(Device::cuda) ? Device::cuda : Device::cpu;
  if (!device_available(*options.device))
    throw UsageError(
        text("--device: ", to_string(*options.device), ": ", device_missing(*options.device), "; use --device cpu"));
  return *options.device;
}

void apply_common_options(const CommonOptions& options) {
  compute_device(options);
  set_winograd_enabled(!options.no_winograd);
  if (options.threads)
    set_num_threads(*options.threads);
  else if (group().threads() > 0)
    set_num_threads(group().threads());
}

bool begin_shared(CommonOptions& options) {
  join_devices(compute_device(options));
  apply_common_options(options);
  options.quiet |= !group().is_first();
  return group().is_first();
}

namespace {

DatasetOptions dataset_options(const DataOptions& options, bool allow_unlabelled) {
  DatasetOptions wanted;
  wanted.path = options.path;
  wanted.val_split = options.val_split;
  wanted.classes = options.classes;
  wanted.limit = options.limit.value_or(0);
  wanted.skip_bad = options.skip_bad;
  wanted.allow_unlabelled = allow_unlabelled;
  wanted.cache = options.cache;
  return wanted;
}

/// A command opens a folder once for each part that it uses.
void say_reading(const DataReading& reading, bool quiet) {
  static std::set<std::string> said;
  const std::string line = "data: " + describe(reading);
  if (!said.insert(line).second) return;
  say_at_work(quiet, line);
  if (!reading.passed_over.empty()) say_at_work(quiet, "passed over: " + reading.passed_over.sentence());
}

}  // namespace

std::unique_ptr<Dataset> open_data(const DataOptions& options, const CommonOptions& common, Split split,
                                   bool allow_unlabelled, bool whole) {
  DatasetOptions wanted = dataset_options(options, allow_unlabelled);
  wanted.split = split;
  wanted.whole = whole;
  std::optional<Progress> bar;
  wanted.cache_hooks.remark = [&](const std::string& line) {
    say(common.quiet, line);
    catch_interrupts();
  };
  wanted.cache_hooks.progress = [&](std::int64_t done, std::int64_t total) {
    if (interrupted()) throw Interrupted{};
    if (!bar) bar.emplace("decoding", total, common.quiet);
    bar->update(done);
  };
  std::unique_ptr<Dataset> dataset = open_dataset(wanted);
  bar.reset();
  say_reading(*dataset->reading(), common.quiet);
  return dataset;
}

DataReading read_data(const DataOptions& options, bool allow_unlabelled) {
  return read_dataset(dataset_options(options, allow_unlabelled));
}

nlohmann::ordered_json data_json(const std::shared_ptr<const DataReading>& read, std::int64_t used) {
  using Json = nlohmann::ordered_json;
  if (!read) return nullptr;
  const DataReading& reading = *read;
  const auto part = [](const std::optional<DataReading::Part>& found) {
    if (!found) return Json(nullptr);
    return Json{{"folder", found->folder}, {"pictures", found->samples ? Json(*found->samples) : Json(nullptr)}};
  };
  Json json = {{"path", reading.path},         {"form", reading.form},     {"classes", reading.classes},
               {"train", part(reading.train)}, {"val", part(reading.val)}, {"test", part(reading.test)}};
  if (reading.val_split) json["val_split"] = *reading.val_split;
  json["used"] = used;
  json["passed_over"] = Json::array();
  for (const auto& [key, files] : reading.passed_over.files())
    json["passed_over"].push_back(
        {{"why", to_string(key.first)}, {"what", key.second}, {"count", files.count}, {"examples", files.examples}});
  return json;
}

Preprocessing preprocessing_for(const DataOptions& options, Preprocessing base) {
  if (options.image_size) base.image_size = *options.image_size;
  if (!options.mean.empty()) {
    check_channels("--mean", options.mean, base.channels);
    base.mean = options.mean;
  }
  if (!options.std.empty()) {
    check_channels("--std", options.std, base.channels);
    base.std = options.std;
  }
  return base;
}

Preprocessing preprocessing_of(const std::string& architecture, const std::string& weights, const DataOptions& options,
                               const Dataset* dataset) {
  std::optional<Preprocessing> own;
  if (!weights.empty()) own = saved_preprocessing(weights);
  if (!own)
    own = default_preprocessing(architecture, dataset ? dataset->native_size() : 0,
                                dataset ? dataset->native_channels() : 3);
  return preprocessing_for(options, *own);
}

Model open_model(const std::string& model, const std::string& weights, const DataOptions& data, const Dataset* dataset,
                 const CommonOptions& common, const ClassMapOptions& classes) {
  if (!weights.empty() && is_keras_network(model))
    return open_model(text(weights, "::", model), "", data, dataset, common, classes);
  if (!weights.empty()) {
    if (!is_architecture(model))
      throw UsageError(text("--weights: goes with --model ARCH such as resnet50, and '", model,
                            "' is no architecture; leave --weights out for a model file"));
    const bool folds = !classes.path.empty();
    Model built = build_and_load(model, weights, data, folds || !classes.names.empty() ? nullptr : dataset, common);
    set_classes(classes, built, weights, dataset, common.quiet);
    to_device(*built.network, compute_device(common));
    return built;
  }
  if (is_architecture(model))
    throw UsageError(text("--model: ", model, " is an architecture without weights; add --weights FILE"));
  const bool path = model.find('/') != model.npos || model.find('.') != model.npos;
  check(std::filesystem::exists(checkpoint_file(model)), model, ": neither a model file nor an architecture; ",
        path ? "check the path" : no_architecture(model));
  Model loaded = load_model(model);
  if (!data.mean.empty()) forget_advice(loaded, "--mean");
  loaded.spec.preprocessing = preprocessing_for(data, loaded.spec.preprocessing);
  const bool labelled = dataset && dataset->labelled();
  set_classes(classes, loaded, model, dataset, common.quiet);
  if (labelled) check_classes(loaded, model, *dataset, data.path);
  to_device(*loaded.network, compute_device(common));
  return loaded;
}

std::int64_t head_classes(const TensorFile& file, const std::string& path) {
  // The linear layers of one network share a prefix and count up (classifier.0, classifier.6; layers.2, layers.10), so
  // the last one has the longest and then the greatest name.
  const std::string* last = nullptr;
  std::int64_t classes = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.shape().rank() != 2 || !name.ends_with("weight") || name.starts_with("AuxLogits.")) continue;
    if (last && (name.size() < last->size() || (name.size() == last->size() && name < *last))) continue;
    last = &name;
    classes = tensor.shape()[0];
  }
  check(last != nullptr && classes > 0, path, ": holds no linear layer, so its classes cannot be counted; give a ",
        "classifier's checkpoint");
  return classes;
}

std::vector<std::string> numbered_classes(std::int64_t count) {
  std::vector<std::string> classes;
  for (std::int64_t i = 0; i < count; ++i) classes.push_back(std::to_string(i));
  return classes;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace retort
