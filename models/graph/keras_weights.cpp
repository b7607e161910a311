#include "models/graph/keras_weights.h"

#include <algorithm>

#include "engine/core/check.h"

namespace retort {
namespace {

std::string dims_text(const std::vector<std::int64_t>& dims) {
  std::string all = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) all += text(i ? ", " : "", dims[i]);
  return all + "]";
}

/// Random numbers' states and counts, which no result depends on.
bool is_state(const std::string& path) {
  return path.find("seed_generator") != path.npos || path.find("top_level_model_weights/") != path.npos ||
         path.find("metrics/") != path.npos || path.ends_with("/count") || path.ends_with("/count:0");
}

}  // namespace

KerasWeights::KerasWeights(const Hdf5File& file, const std::string& path) : file_(file), path_(path) {
  const auto some = [&](const char* prefix) {
    const auto at = file.datasets.lower_bound(prefix);
    return at != file.datasets.end() && at->first.starts_with(prefix);
  };
  if (some("model_weights/")) root_ = "model_weights/";
  legacy_ = !root_.empty() || !some("layers/");
}

std::string KerasWeights::find(const KerasLayer& layer, const std::vector<std::string>& variables,
                               std::size_t index) const {
  if (!legacy_) return text(layer.folder, "/vars/", index);
  // "conv1/conv1/kernel:0", and of a model within: "resnet50/conv1/kernel"; Keras 2 marks the output, 0.
  const std::string prefix = root_ + layer.group + "/", name = layer.name + "/" + variables[index];
  for (auto at = file_.datasets.lower_bound(prefix); at != file_.datasets.end() && at->first.starts_with(prefix);
       ++at) {
    std::string_view path = std::string_view(at->first).substr(root_.size());
    if (path.ends_with(":0")) path.remove_suffix(2);
    if (path.ends_with(name) && (path.size() == name.size() || path[path.size() - name.size() - 1] == '/'))
      return at->first;
  }
  return prefix + name;
}

const std::vector<float>& KerasWeights::take(const KerasLayer& layer, const std::vector<std::string>& variables,
                                             std::size_t index, const std::vector<std::int64_t>& dims) {
  const std::string place = find(layer, variables, index);
  const auto found = file_.datasets.find(place);
  check(found != file_.datasets.end(), path_, ": layer ", layer.name.substr(0, 80), " (", layer.kind.substr(0, 40),
        ") misses its ", variables[index], ", expected ", place.substr(0, 200),
        "; give the network that the weights were saved from");
  check(found->second.dims == dims, path_, ": layer ", layer.name.substr(0, 80), " (", layer.kind.substr(0, 40),
        ") has a ", variables[index], " of ", dims_text(found->second.dims), ", expected ", dims_text(dims),
        "; give the network that the weights were saved from");
  taken_.insert(place);
  return found->second.values;
}

void KerasWeights::check_all_taken(const std::vector<KerasLayer>& layers) const {
  std::set<std::string> counts;  // Normalization's last variable
  for (const KerasLayer& layer : layers)
    if (layer.kind == "Normalization") counts.insert(layer.folder + "/vars/2");
  for (const auto& [path, dataset] : file_.datasets)
    check(taken_.contains(path) || is_state(path) || counts.contains(path), path_, ": holds ", path.substr(0, 200),
          ", which its network has not; give the network that the weights were saved from");
}

}  // namespace retort
