#include "models/graph/builder.h"

#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "models/graph/array.h"
#include "models/graph/network.h"

namespace retort {

std::int64_t GraphBuilder::add(const std::string& wanted, const char* op, std::vector<std::int64_t> inputs,
                               const Attributes& attributes) {
  std::string name;
  for (const char c : wanted) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
    name += plain ? c : '.';
  }
  while (name.starts_with('.')) name.erase(0, 1);
  while (name.ends_with('.')) name.pop_back();
  if (name.empty()) name = "node";
  std::string free = name;
  for (int i = 2; !names_.insert(free).second; ++i) free = text(name, "_", i);
  spec.nodes.push_back({free, op, std::move(inputs), attributes});
  return static_cast<std::int64_t>(spec.nodes.size());
}

void GraphBuilder::add_weight(const std::string& name, const std::vector<std::int64_t>& dims,
                              std::span<const float> values, const std::string& where) {
  const std::int64_t count = checked_count(dims);
  check(count >= 1 && count <= kMaxGraphElements && count == static_cast<std::int64_t>(values.size()), where,
        ": its weights have ", values.size(), " elements, expected ", count, "; export the model again");
  const auto shape = [&]() -> Shape {
    switch (dims.size()) {
      case 1: return {dims[0]};
      case 2: return {dims[0], dims[1]};
      default: return {dims[0], dims[1], dims[2], dims[3]};
    }
  }();
  tensors.emplace_back(name, Tensor::from<float>(shape, values));
}

Checkpoint graph_checkpoint(GraphBuilder graph, const GraphInput& input, std::map<std::string, std::string> metadata,
                            std::vector<std::string> said, const std::string& path) {
  metadata["architecture"] = "graph";
  metadata["graph"] = to_json(graph.spec);
  metadata["image_size"] = std::to_string(input.image_size);
  metadata["channels"] = std::to_string(input.channels);
  if (!metadata.contains("classes")) {
    const std::int64_t classes = classes_of(graph.spec);
    nlohmann::json names = nlohmann::json::array();
    for (std::int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
    metadata["classes"] = names.dump();
    said.push_back(
        text(path, ": does not name its classes: they are 0 to ", classes - 1, " (--class-names FILE names them)"));
  }
  if (!metadata.contains("mean") || !metadata.contains("std")) {
    const bool colour = input.channels == 3;
    metadata["mean"] = colour ? "[0.485,0.456,0.406]" : "[0.449]";
    metadata["std"] = colour ? "[0.229,0.224,0.225]" : "[0.226]";
    said.push_back(text(path, ": does not say how it takes pixels: they are normalised by ImageNet's mean ",
                        metadata["mean"], " and deviation ", metadata["std"],
                        " (`retort import --mean --std` makes a model file that says otherwise)"));
  }
  Checkpoint result;
  result.file.tensors = std::move(graph.tensors);
  result.file.metadata = std::move(metadata);
  result.said = std::move(said);
  return result;
}

}  // namespace retort
