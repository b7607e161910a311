#include "tools/cli/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "engine/core/check.h"
#include "kernels/memory.h"
#include "kernels/threads.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

constexpr int kMostThreads = 1024;

void check_channels(const char* flag, const std::vector<double>& values, std::int64_t channels) {
  if (static_cast<std::int64_t>(values.size()) != channels)
    throw UsageError(text(flag, ": ", values.size(), " values for ", channels, " channels; give one for each channel"));
  for (const double value : values)
    if (!std::isfinite(value)) throw UsageError(text(flag, ": ", value, " is not allowed; give finite numbers"));
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
  const TensorFile file = read_safetensors(weights);
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

CLI::Option* as_list(CLI::Option* option) {
  return option->delimiter(',')->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Validator whole_number(std::int64_t low, std::int64_t high) {
  const bool bounded = high != std::numeric_limits<std::int64_t>::max();
  const auto check = [=](std::string& word) -> std::string {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc() && end == word.data() + word.size() && value >= low && value <= high) return {};
    return text("'", word, "' is not allowed; give a whole number from ", low, bounded ? text(" to ", high) : "");
  };
  return CLI::Validator(check, "");
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.set_version_flag("--version", "retort " RETORT_VERSION);
  command.add_option("--device", options.device, "auto, cpu, cuda or simt")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "simt"}))
      ->capture_default_str();
  command.add_option("--threads", options.threads, "CPU threads (default: all cores)")
      ->check(whole_number(1, kMostThreads));
  command.add_option("--seed", options.seed, "Of everything drawn at random")
      ->check(whole_number(0))
      ->capture_default_str();
  command.add_flag("--no-winograd", options.no_winograd,
                   "Sum the CPU's 3 x 3, 1 x 7 ... convolutions directly: slower, a little less rounding");
  command.add_flag("--json", options.json, "Print one JSON object on stdout");
  command.add_flag("--quiet", options.quiet, "No progress, no remarks");
  // The application reads the file once it knows the command: hand the path up to it as soon as it is seen.
  CLI::App* app = &command;
  while (app->get_parent() != nullptr) app = app->get_parent();
  command
      .add_option_function<std::string>(
          "--config",
          [app](const std::string& path) {
            if (app->get_config_ptr() != nullptr) app->get_config_ptr()->add_result(path);
          },
          "TOML file of flags, keys = flag names; flags win")
      ->trigger_on_parse()
      ->configurable(false)
      ->type_name("FILE");
}

Device compute_device(const CommonOptions& options) {
  if (options.device == "auto") return device_available(Device::cuda) ? Device::cuda : Device::cpu;
  for (const Device device : {Device::cuda, Device::simt}) {
    if (options.device != to_string(device)) continue;
    if (!device_available(device))
      throw UsageError(text("--device: ", options.device, ": ", device_missing(device), "; use --device cpu"));
    return device;
  }
  return Device::cpu;
}

void apply_common_options(const CommonOptions& options) {
  compute_device(options);
  set_winograd_enabled(!options.no_winograd);
  if (options.threads > 0) set_num_threads(options.threads);
}

void add_data_options(CLI::App& command, DataOptions& options, bool with_split) {
  command.add_option("--data", options.path, "Folder of classes, flat folder, MNIST or CIFAR files")->required();
  if (with_split) command.add_option("--split", options.split, "train or val")->check(CLI::IsMember({"train", "val"}));
  command.add_option("--val-split", options.val_split, "Share kept for validation where the data has no such part")
      ->capture_default_str();
  as_list(command.add_option("--classes", options.classes, "Use these classes only, in this order"));
  command.add_option("--limit", options.limit, "At most so many images, spread over the classes")
      ->check(whole_number(1));
  command.add_flag("--skip-bad", options.skip_bad, "List and leave out files that can't be decoded");
  command.add_option("--cache", options.cache, "File for the decoded images: made once, then read in their place");
  command.add_option("--image-size", options.image_size, "Width and height (default: the network's own)")
      ->check(whole_number(1, kMaxImageSize));
  as_list(command.add_option("--mean", options.mean, "Of pixels in 0..1, one for each channel"));
  as_list(command.add_option("--std", options.std, "Of pixels in 0..1, one for each channel"));
}

Split chosen_split(const DataOptions& options, Split fallback) {
  if (options.split.empty()) return fallback;
  if (options.split == "train") return Split::train;
  if (options.split == "val") return Split::val;
  throw UsageError(text("--split: '", options.split, "' is not known; give train or val"));
}

std::unique_ptr<Dataset> open_data(const DataOptions& options, const CommonOptions& common, Split split,
                                   bool allow_unlabelled, bool whole) {
  DatasetOptions wanted;
  wanted.path = options.path;
  wanted.split = split;
  wanted.val_split = options.val_split;
  wanted.classes = options.classes;
  wanted.limit = options.limit;
  wanted.whole = whole;
  wanted.skip_bad = options.skip_bad;
  wanted.allow_unlabelled = allow_unlabelled;
  wanted.cache = options.cache;
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
  return open_dataset(wanted);
}

Preprocessing preprocessing_for(const DataOptions& options, Preprocessing base) {
  if (options.image_size < 0)
    throw UsageError(text("--image-size: ", options.image_size, " is not allowed; give a number of pixels"));
  if (options.image_size > 0) base.image_size = options.image_size;
  if (!options.mean.empty()) {
    check_channels("--mean", options.mean, base.channels);
    base.mean = options.mean;
  }
  if (!options.std.empty()) {
    check_channels("--std", options.std, base.channels);
    for (const double value : options.std)
      if (!(value > 0)) throw UsageError(text("--std: ", value, " is not allowed; give numbers above 0"));
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
                 const CommonOptions& common) {
  if (!weights.empty()) {
    if (!is_architecture(model))
      throw UsageError(text("--weights: goes with --model ARCH such as resnet50, and '", model,
                            "' is no architecture; leave --weights out for a model file"));
    Model built = build_and_load(model, weights, data, dataset, common);
    to_device(*built.network, compute_device(common));
    return built;
  }
  if (is_architecture(model))
    throw UsageError(text("--model: ", model, " is an architecture without weights; add --weights FILE"));
  check(std::filesystem::exists(model), model, ": neither a model file nor an architecture; check the path");
  Model loaded = load_model(model);
  loaded.spec.preprocessing = preprocessing_for(data, loaded.spec.preprocessing);
  if (dataset && dataset->labelled()) check_classes(loaded, model, *dataset, data.path);
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
