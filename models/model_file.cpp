// Models as .safetensors files: torchvision's names and layouts, and a ModelSpec in the metadata.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "engine/core/check.h"
#include "engine/core/repeated.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/layout.h"
#include "models/checkpoint.h"
#include "models/graph/network.h"
#include "models/head.h"
#include "models/registry.h"

namespace retort {
namespace {

using Json = nlohmann::json;
using Metadata = std::map<std::string, std::string>;

constexpr std::string_view kAuxiliary = "AuxLogits.";
/// The graph's own last layer, which another of its classes' number may replace.
constexpr std::int64_t kMaxHeadElements = 1 << 24;

// ---- the spec as metadata: strings only, lists as JSON --------------------------------------------------------------

const std::set<std::string>& spec_keys() {
  static const std::set<std::string> keys = {"format", "architecture", "classes",   "image_size", "channels",
                                             "mean",   "std",          "auxiliary", "graph",      "head"};
  return keys;
}

Metadata to_metadata(const ModelSpec& spec) {
  Metadata metadata;
  for (const auto& [key, value] : spec.notes) {
    check(!spec_keys().contains(key), "model note `", key, "`: the name is taken: choose another");
    metadata[key] = value;
  }
  metadata["format"] = "pt";  // what PyTorch's own loaders look for
  metadata["architecture"] = spec.architecture;
  // A class named by bytes that are no UTF-8 must not lose hours of training here.
  if (!spec.graph.empty()) metadata["graph"] = spec.graph;
  if (!spec.head.empty()) metadata["head"] = spec.head;
  metadata["classes"] = json_text(Json(spec.classes));
  metadata["image_size"] = std::to_string(spec.preprocessing.image_size);
  metadata["channels"] = std::to_string(spec.preprocessing.channels);
  metadata["mean"] = Json(spec.preprocessing.mean).dump();  // the shortest digits that read back exactly
  metadata["std"] = Json(spec.preprocessing.std).dump();
  metadata["auxiliary"] = spec.auxiliary ? "true" : "false";
  return metadata;
}

std::string how_to_load(const std::string& path) {
  return text(": load it with --model ARCH --weights ", path, ", or make a model file of it with `retort import`");
}

/// Reads the keys of one file's metadata; each error names the file and the key.
class MetadataReader {
 public:
  MetadataReader(const std::string& path, const Metadata& metadata) : path_(path), metadata_(metadata) {}

  const std::string& string(const std::string& key) const {
    const auto found = metadata_.find(key);
    check(found != metadata_.end(), path_, ": its metadata has no `", key, "`", how_to_load(path_));
    return found->second;
  }

  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high) const {
    const std::string& value = string(key);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < low || number > high)
      fail(key, value, text("a whole number from ", low, " to ", high));
    return number;
  }

  /// A JSON array of T that `valid` accepts one by one.
  template <class T, class Valid>
  std::vector<T> list(const std::string& key, const char* expected, const Valid& valid) const {
    const std::string& value = string(key);
    const std::optional<Json> json = try_parse_json(value);
    if (!json || !json->is_array() || json->empty() || !std::all_of(json->begin(), json->end(), valid))
      fail(key, value, expected);
    return json->get<std::vector<T>>();
  }

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& value, const std::string& expected) const {
    throw Error(text(path_, ": its metadata has `", key, "` = ", value.substr(0, 60), ", expected ", expected,
                     ": save the model again"));
  }

  const std::string& path_;
  const Metadata& metadata_;
};

bool is_finite_number(const Json& json) { return json.is_number() && std::isfinite(json.get<double>()); }

ModelSpec to_spec(const std::string& path, const TensorFile& file) {
  check(file.metadata.contains("architecture"), path, ": its metadata does not say which network it is",
        how_to_load(path));
  const MetadataReader reader(path, file.metadata);
  ModelSpec spec;
  spec.architecture = reader.string("architecture");
  if (spec.architecture == kGraph) spec.graph = reader.string("graph");
  if (file.metadata.contains("head")) spec.head = reader.string("head");
  check(is_architecture(spec.architecture) || spec.architecture == kGraph, path,
        ": its metadata names an unknown architecture, `", spec.architecture.substr(0, 60), "`: save the model again");
  spec.classes =
      reader.list<std::string>("classes", "a JSON array of names", [](const Json& json) { return json.is_string(); });
  if (const std::string* name = repeated(spec.classes))
    throw Error(text(path, ": its metadata names the class '", name->substr(0, 60),
                     "' twice: give each class a name of its own and save the model again"));
  Preprocessing& preprocessing = spec.preprocessing;
  preprocessing.image_size = reader.integer("image_size", 1, kMaxImageSize);
  preprocessing.channels = reader.integer("channels", 1, 1 << 10);
  preprocessing.mean = reader.list<double>("mean", "a JSON array of numbers", is_finite_number);
  preprocessing.std = reader.list<double>("std", "a JSON array of positive numbers", [](const Json& json) {
    return is_finite_number(json) && json.get<double>() > 0;
  });
  const auto channels = static_cast<std::size_t>(preprocessing.channels);
  check(preprocessing.mean.size() == channels && preprocessing.std.size() == channels, path,
        ": its metadata has another number of `mean` or `std` than its ", channels, " channels: save the model again");
  spec.auxiliary = has_auxiliary_head(file);
  for (const auto& [key, value] : file.metadata)
    if (!spec_keys().contains(key)) spec.notes[key] = value;
  return spec;
}

// ---- tensors into a network -----------------------------------------------------------------------------------------

bool is_new_head(const std::string& name) { return name.starts_with(text(kHeadName, ".")); }

/// The name of the layer that gives the logits, the last that a network visits; or of the one that did before a head
/// was put in its place.
std::string head_name(const std::vector<Parameter*>& parameters, const ModelSpec& spec = {}) {
  auto last = parameters.rbegin();
  if (!spec.head.empty())
    last = std::find_if(last, parameters.rend(), [](const Parameter* p) { return !is_new_head(p->name); });
  return (*last)->name.substr(0, (*last)->name.rfind('.'));
}

/// Renames the file's head to the network's, where it is called by another of the usual names.
void rename_head(TensorFile& file, const std::string& path, const std::string& head, LoadReport& report) {
  if (file.find(head + ".weight")) return;
  for (const std::string other : {"fc", "linear", "classifier"}) {
    if (!file.find(other + ".weight")) continue;
    for (auto& [name, tensor] : file.tensors)
      if (name.starts_with(other + ".")) name.replace(0, other.size(), head);
    report.lines.push_back(text(path, ": its head `", other, "` is taken for `", head, "`"));
    return;
  }
}

/// True for a head's tensor that differs from the network's in the number of classes alone.
bool is_head_of_other_size(const Parameter& parameter, const Tensor& tensor, const std::string& head) {
  if (!parameter.name.starts_with(head + ".")) return false;
  const Shape found = tensor.shape(), expected = file_shape(parameter);
  if (found.rank() != expected.rank() || found.rank() < 1 || found[0] == expected[0]) return false;
  return found.rank() == 1 || found[1] == expected[1];
}

/// Classes 0, 1, 2 ... are numbered, not named.
bool is_named(const std::vector<std::string>& classes) {
  for (std::size_t i = 0; i < classes.size(); ++i)
    if (classes[i] != std::to_string(i)) return true;
  return false;
}

/// The first few names, for a message.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string list;
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) list += (i ? ", " : "") + names[i];
  return names.size() > kShown ? list + ", ..." : list;
}

/// What the file's head says its classes are, where they are other things than the network's: its rows would then start
/// as wrong answers. Empty where they agree, or one of them names none.
std::string other_classes(const TensorFile& file, const ModelSpec& spec, const std::string& path) {
  if (!file.metadata.contains("classes") || !is_named(spec.classes)) return {};
  const std::vector<std::string> found = to_spec(path, file).classes;
  return is_named(found) && found != spec.classes ? some_of(found) : std::string();
}

/// What to do about tensors missing or left over: often the other kind of shortcut was saved.
std::string advice(const ModelSpec& spec, const std::string& tensor) {
  const std::string& name = spec.architecture;
  if (tensor.find(".downsample.") != std::string::npos) {
    if (name.ends_with("_a")) return text("its shortcuts are convolutions: use ", name.substr(0, name.size() - 2));
    if (is_architecture(name + "_a")) return text("its shortcuts have no parameters (option A): use ", name, "_a");
  }
  return "give the architecture that it was saved from";
}

/// Throws unless the file has about as many numbers as the network that it names: a few bytes must not make gigabytes.
void check_holds(const TensorFile& file, const ModelSpec& spec, const std::string& path) {
  constexpr double kSlack = 2, kFree = 1 << 20;  // a file of a smaller network is told which tensor differs
  double numbers = 0;
  for (const auto& [name, tensor] : file.tensors) numbers += static_cast<double>(tensor.count());
  const double needed = least_parameters(spec);
  check(needed <= kSlack * numbers + kFree, path, ": it names ", spec.architecture.substr(0, 60), ", whose ", needed,
        " parameters or more it does not hold: save the model again");
}

/// A network with such weights gives numbers that look like an accuracy.
void check_finite(const Parameter& parameter, const std::string& path) {
  if (parameter.value.dtype() != DType::f32) return;
  const std::span<const float> values = parameter.value.span<float>();
  bool finite = true;  // of all, without a way out: the loop is then one over vectors
  for (const float value : values) finite &= std::abs(value) <= std::numeric_limits<float>::max();
  if (finite) return;
  const auto bad = std::find_if_not(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
  throw Error(text(path, ": tensor ", parameter.name, " holds ", *bad,
                   ", and a network's numbers are finite: its training diverged, or the file is damaged; use another"));
}

/// The scales of 8-bit weights: without one, a channel's numbers mean nothing.
void check_scales(const Parameter& parameter, const std::string& path) {
  if (!parameter.name.ends_with(".weight_scale")) return;
  const std::span<const float> values = parameter.value.span<float>();
  const auto bad = std::ranges::find_if_not(values, [](float value) { return value > 0; });
  check(bad == values.end(), path, ": tensor ", parameter.name, " holds ", bad == values.end() ? 0.0f : *bad,
        ", and scales are above 0: the file is damaged; quantize the model again");
}

LoadReport copy_weights(Network& network, const ModelSpec& spec, const std::string& path, TensorFile& file,
                        bool replace_head) {
  LoadReport report;
  if (const auto said = file.metadata.find("architecture"); said != file.metadata.end())
    check(said->second == spec.architecture, path, ": it holds a ", said->second, ", not a ", spec.architecture,
          ": use ", said->second);
  const std::vector<Parameter*> own = parameters(network);
  const std::string head = head_name(own, spec);
  rename_head(file, path, head, report);

  const auto has_auxiliary = [](const auto& names) {
    return std::any_of(names.begin(), names.end(), [](const auto& name) { return name.starts_with(kAuxiliary); });
  };
  std::set<std::string> own_names, file_names;
  for (const Parameter* parameter : own) own_names.insert(parameter->name);
  for (const auto& [name, tensor] : file.tensors) file_names.insert(name);
  const bool own_auxiliary = has_auxiliary(own_names), file_auxiliary = has_auxiliary(file_names);
  if (own_auxiliary && !file_auxiliary)
    report.lines.push_back(text(path, ": it has no auxiliary head: that starts from fresh weights"));
  if (!own_auxiliary && file_auxiliary) report.lines.push_back(text(path, ": its auxiliary head is left out"));

  for (const auto& [name, tensor] : file.tensors)
    check(own_names.contains(name) || (name.starts_with(kAuxiliary) && !own_auxiliary), path, ": tensor ", name,
          " is not part of ", spec.architecture, ": ", advice(spec, name));
  std::set<std::string> replaced;
  const std::string others = replace_head ? other_classes(file, spec, path) : "";
  const auto starts_fresh = [&](const std::string& layer, const std::string& why) {
    if (replaced.insert(layer).second)
      report.lines.push_back(
          text(path, ": its head `", layer, "` ", why, ": it is replaced and starts from fresh weights"));
  };
  for (Parameter* parameter : own) {
    const std::string& name = parameter->name;
    const Tensor* tensor = file.find(name);
    if (!tensor) {
      // Files from before PyTorch 0.4.1 do not count batches, and nothing here reads the count.
      const bool tolerated = name.ends_with(".num_batches_tracked") ||
                             (name.starts_with(kAuxiliary) && !file_auxiliary) ||
                             (replace_head && is_new_head(name) && !file.metadata.contains("head"));
      check(tolerated, path, ": tensor ", name, " of ", spec.architecture, " is missing: ", advice(spec, name));
      continue;
    }
    const std::string auxiliary_head = std::string(kAuxiliary) + "fc";
    bool fresh = false;
    for (const std::string& layer : {head, auxiliary_head}) {
      if (!replace_head || !name.starts_with(layer + ".")) continue;
      if (is_head_of_other_size(*parameter, *tensor, layer))
        starts_fresh(layer, text("has ", tensor->shape()[0], " classes, not ", file_shape(*parameter)[0]));
      else if (!others.empty())
        starts_fresh(layer, text("gives ", others, ", not ", some_of(spec.classes)));
      else
        continue;
      fresh = true;
    }
    if (fresh) continue;
    try {
      from_file_layout(*tensor, *parameter);
    } catch (const Error& error) {
      throw Error(text(path, ": tensor ", error.what()));
    }
    check_finite(*parameter, path);
    check_scales(*parameter, path);
  }
  return report;
}

/// A graph that asks for more memory than its file has weights is none.
void check_elements(const std::string& path, const ModelSpec& spec, const TensorFile& file) {
  std::int64_t held = 0;
  for (const auto& [name, tensor] : file.tensors) held += tensor.count();
  const std::int64_t wanted = elements_of(graph_from_json(spec.graph, path));
  check(wanted <= held + kMaxHeadElements, path, ": its graph has ", wanted, " weights where the file holds ", held,
        ", expected all of them; save the model again");
}

}  // namespace

Head head_of(Network& network) {
  const std::vector<Parameter*> all = parameters(network);
  const std::string layer = head_name(all);
  Head head;
  for (Parameter* parameter : all) {
    if (parameter->name == layer + ".weight") head.weight = parameter;
    if (parameter->name == layer + ".bias") head.bias = parameter;
  }
  return head;
}

bool has_auxiliary_head(const TensorFile& file) {
  return std::any_of(file.tensors.begin(), file.tensors.end(),
                     [](const auto& entry) { return entry.first.starts_with(kAuxiliary); });
}

std::string Model::hash() const {
  if (!recorded_hash.empty() || path.empty()) return recorded_hash;
  return file_hash(checkpoint_file(path));
}

ModelSpec load_spec(const std::string& path) { return to_spec(path, read_checkpoint(path).file); }

Model make_model(TensorFile file, const std::string& path) {
  Model model;
  model.path = path;
  model.spec = to_spec(path, file);
  if (model.spec.architecture == kGraph)
    check_elements(path, model.spec, file);
  else
    check_holds(file, model.spec, path);
  model.network = make_empty_network(model.spec);
  copy_weights(*model.network, model.spec, path, file, /*replace_head=*/false);
  return model;
}

Model load_model(const std::string& path) {
  Checkpoint checkpoint = read_checkpoint(path);
  Model model = make_model(std::move(checkpoint.file), path);
  model.said = std::move(checkpoint.said);
  return model;
}

LoadReport load_weights(Network& network, const ModelSpec& spec, const std::string& path, bool replace_head) {
  Checkpoint checkpoint = read_checkpoint(path);
  LoadReport report = copy_weights(network, spec, path, checkpoint.file, replace_head);
  report.lines.insert(report.lines.begin(), checkpoint.said.begin(), checkpoint.said.end());
  return report;
}

LoadReport load_fitting_weights(Network& network, const ModelSpec& spec, const std::string& path) {
  TensorFile file = read_checkpoint(path).file;
  for (const auto& [name, tensor] : file.tensors)
    check(tensor.dtype() != DType::i8, path, ": tensor ", name,
          " holds 8-bit integers, from which no training starts; give the model that it was made of");
  const std::vector<Parameter*> own = parameters(network);
  const std::string head = head_name(own, spec), others = other_classes(file, spec, path);
  std::vector<std::string> fresh;
  std::size_t taken = 0, trainable = 0;
  for (Parameter* parameter : own) {
    const std::string& name = parameter->name;
    const Tensor* tensor = file.find(name);
    const bool fits =
        tensor && tensor->shape() == file_shape(*parameter) && (others.empty() || !name.starts_with(head + "."));
    if (fits) {
      from_file_layout(*tensor, *parameter);
      check_finite(*parameter, path);
    }
    if (parameter->buffer) continue;
    ++trainable;
    if (fits)
      ++taken;
    else
      fresh.push_back(name);
  }
  check(taken > 0, path, ": none of its ", file.tensors.size(), " tensors has the name and the shape of one of ",
        spec.architecture, "'s, such as ", own.front()->name, " of ", file_shape(*own.front()), ": give another file");
  return {{text(path, ": ", taken, " of ", trainable, " parameters fit and are taken",
                fresh.empty() ? "" : "; fresh: " + some_of(fresh))}};
}

std::optional<Preprocessing> saved_preprocessing(const std::string& path) {
  const TensorFile file = read_checkpoint(path).file;
  for (const char* key : {"architecture", "classes", "image_size", "channels", "mean", "std"})
    if (!file.metadata.contains(key)) return std::nullopt;
  return to_spec(path, file).preprocessing;
}

TensorFile to_file(Network& network, const ModelSpec& spec) {
  TensorFile file;
  file.metadata = to_metadata(spec);
  for (const Parameter* parameter : parameters(network))
    file.tensors.emplace_back(parameter->name, to_file_layout(*parameter, parameter->value));
  return file;
}

void save_model(const std::string& path, Network& network, const ModelSpec& spec) {
  write_safetensors(path, to_file(network, spec));
}

}  // namespace retort
