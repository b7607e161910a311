#include "models/graph/keras_config.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "engine/core/check.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxLayers = 1 << 14;
constexpr int kMaxDepth = 8;  // of models within models

/// As Keras writes the name of a class: DepthwiseConv2D becomes depthwise_conv2d.
std::string snake_case(const std::string& kind) {
  const auto upper = [&](std::size_t i) {
    return i < kind.size() && std::isupper(static_cast<unsigned char>(kind[i]));
  };
  const auto lower = [&](std::size_t i) {
    return i < kind.size() && std::islower(static_cast<unsigned char>(kind[i]));
  };
  std::string result;
  for (std::size_t i = 0; i < kind.size(); ++i) {
    if (i > 0 && upper(i) && (lower(i + 1) || lower(i - 1))) result += '_';
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(kind[i])));
  }
  return result;
}

bool is_model(const std::string& kind) { return kind == "Functional" || kind == "Sequential" || kind == "Model"; }

std::string shown(const std::string& name) { return name.substr(0, 80); }

class Reader {
 public:
  explicit Reader(const std::string& where) : where_(where) {}

  KerasModel read(const Json& json) {
    model_.name = string(member(json, "config"), "name", "");
    add_model(json, 0, "", "", 0);
    check(!model_.layers.empty(), where_, ": its configuration has no layers; save the model again");
    return std::move(model_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(text(where_, ": its configuration ", what, "; save the model again"));
  }

  const Json& member(const Json& json, const char* key) const {
    if (!json.is_object() || !json.contains(key)) refuse(text("has no `", key, "` where Keras writes one"));
    return json[key];
  }

  std::string string(const Json& json, const char* key, const char* otherwise) const {
    return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : otherwise;
  }

  void take_shape(const Json& config) {
    for (const char* key : {"batch_shape", "batch_input_shape", "input_shape", "build_input_shape"}) {
      if (!config.is_object() || !config.contains(key) || !config[key].is_array() || config[key].size() != 4) continue;
      const auto extent = [&](std::size_t i) {
        return config[key][i].is_number_integer() ? config[key][i].get<std::int64_t>() : -1;
      };
      if (model_.channels < 0) {
        model_.rows = extent(1);
        model_.columns = extent(2);
        model_.channels = extent(3);
      }
      return;
    }
  }

  /// A layer that is a model becomes its layers. Returns the value that it gives.
  std::int64_t add_layer(const Json& json, std::vector<std::int64_t> inputs, std::vector<double> numbers,
                         bool number_first, const std::string& folder, const std::string& group, int depth) {
    const std::string kind = string(json, "class_name", "");
    const Json& config = member(json, "config");
    KerasLayer layer{
        string(config, "name", "layer"), kind, config, std::move(inputs), std::move(numbers), false, folder, group};
    layer.number_first = number_first;
    if (group.empty()) layer.group = layer.name;
    if (is_model(kind)) {
      if (layer.inputs.size() != 1) refuse(text("has the model ", shown(layer.name), " with several inputs"));
      model_.within.push_back(layer.name);
      return add_model(json, layer.inputs[0], folder + "/", layer.group, depth + 1);
    }
    if (model_.layers.size() >= kMaxLayers) refuse("has more than 16384 layers");
    model_.layers.push_back(std::move(layer));
    return static_cast<std::int64_t>(model_.layers.size());
  }

  std::int64_t add_model(const Json& json, std::int64_t input, const std::string& prefix, const std::string& group,
                         int depth) {
    if (depth > kMaxDepth) refuse("has models within models beyond a depth of 8");
    const std::string kind = string(json, "class_name", "");
    if (!is_model(kind))
      throw Error(text(where_, ": is a model of the class ", kind.empty() ? "?" : shown(kind),
                       ", expected Sequential or Functional; build it from Keras's own layers, or export it as ONNX"));
    const Json& config = member(json, "config");
    const Json& layers = config.is_array() ? config : member(config, "layers");
    if (!layers.is_array()) refuse("has no list of layers");
    return kind == "Sequential" ? add_sequential(config, layers, input, prefix, group, depth)
                                : add_functional(config, layers, input, prefix, group, depth);
  }

  std::int64_t add_sequential(const Json& config, const Json& layers, std::int64_t value, const std::string& prefix,
                              const std::string& group, int depth) {
    KerasFolders folders(prefix);
    for (const Json& layer : layers) {
      const std::string kind = string(layer, "class_name", "");
      take_shape(member(layer, "config"));
      // Keras leaves the input out of a Sequential's layers.
      if (kind == "InputLayer") continue;
      value = add_layer(layer, {value}, {}, false, folders.next(kind), group, depth);
    }
    take_shape(config);
    return value;
  }

  std::int64_t add_functional(const Json& config, const Json& layers, std::int64_t input, const std::string& prefix,
                              const std::string& group, int depth) {
    const std::string output = end_of(config, "output_layers", "output"),
                      entry = end_of(config, "input_layers", "input");
    KerasFolders folders(prefix);
    std::map<std::string, std::int64_t> values;
    for (const Json& layer : layers) {
      const std::string kind = string(layer, "class_name", ""), name = string(layer, "name", "");
      const std::string folder = folders.next(kind);
      if (kind == "InputLayer") {
        if (name != entry) refuse(text("has another input, ", shown(name)));
        take_shape(member(layer, "config"));
        values[name] = input;
        continue;
      }
      std::vector<std::int64_t> inputs;
      std::vector<double> numbers;
      bool number_first = false;
      const Json& calls = member(layer, "inbound_nodes");
      if (!calls.is_array() || calls.size() != 1)
        throw Error(text(where_, ": layer ", shown(name), " (", shown(kind), ") is used ", calls.size(),
                         " times, expected once; build the model with a layer for each use"));
      take_inputs(calls[0], values, name, {inputs, numbers, number_first}, 0);
      if (inputs.empty()) refuse(text("has the layer ", shown(name), " without an input"));
      const std::int64_t value =
          add_layer(layer, std::move(inputs), std::move(numbers), number_first, folder, group, depth);
      if (!values.emplace(name, value).second) refuse(text("has two layers called ", shown(name)));
    }
    const auto found = values.find(output);
    if (found == values.end()) refuse(text("has no layer ", shown(output), ", its output"));
    return found->second;
  }

  /// ["name", 0, 0], or a list of one such.
  std::string end_of(const Json& config, const char* key, const char* what) const {
    const Json* end = &member(config, key);
    if (end->is_array() && end->size() == 1) end = &(*end)[0];
    if (!end->is_array() || end->size() != 3 || !(*end)[0].is_string()) refuse(text("has not one ", what));
    return (*end)[0].get<std::string>();
  }

  std::int64_t value_of(const Json& reference, const std::map<std::string, std::int64_t>& values,
                        const std::string& layer) const {
    if (!reference.is_array() || reference.size() < 3 || !reference[0].is_string())
      refuse(text("does not say what the layer ", shown(layer), " reads"));
    const std::string name = reference[0].get<std::string>();
    const auto found = values.find(name);
    if (found == values.end() || reference[2] != 0)
      throw Error(text(where_, ": layer ", shown(layer), " needs ", shown(name),
                       ", which no layer before it gives (a cycle, or a part is missing); save the model again"));
    return found->second;
  }

  struct Operands {
    std::vector<std::int64_t>& inputs;
    std::vector<double>& numbers;
    bool& number_first;
  };

  /// Keras 3 writes {"args": [tensors and numbers], "kwargs"}, Keras 2 [["name", 0, 0, {}], ...].
  void take_inputs(const Json& call, const std::map<std::string, std::int64_t>& values, const std::string& layer,
                   const Operands& to, int depth) const {
    if (depth > kMaxDepth) refuse("has lists within lists");
    if (call.is_object() && call.contains("args")) {
      for (const Json& argument : call["args"]) take_inputs(argument, values, layer, to, depth + 1);
    } else if (call.is_object() && string(call, "class_name", "") == "__keras_tensor__") {
      to.inputs.push_back(value_of(member(member(call, "config"), "keras_history"), values, layer));
    } else if (call.is_number()) {
      to.number_first |= to.inputs.empty();
      to.numbers.push_back(call.get<double>());
    } else if (call.is_array() && !call.empty() && call[0].is_string()) {
      to.inputs.push_back(value_of(call, values, layer));
    } else if (call.is_array()) {
      for (const Json& part : call) take_inputs(part, values, layer, to, depth + 1);
    }
  }

  const std::string& where_;
  KerasModel model_;
};

}  // namespace

std::string KerasFolders::next(const std::string& kind) {
  const std::string name = snake_case(kind);
  const int before = counts_[name]++;
  return text(prefix_, "layers/", name, before == 0 ? "" : text("_", before));
}

KerasModel read_keras_config(const std::string& json, const std::string& version, const std::string& where) {
  KerasModel model = Reader(where).read(parse_json(json, where + ": its configuration ", "; save the model again"));
  model.before_keras_3 = !version.empty() && version < "3";
  return model;
}

std::vector<std::size_t> keras_order(const std::vector<std::vector<std::int64_t>>& inputs) {
  const std::size_t count = inputs.size();
  // Layers are given with inputs before them, so that one walk from the last back knows each one's distance.
  std::vector<std::size_t> distance(count, 0), met(count, count), order;
  for (std::size_t i = count; i-- > 0;)
    for (const std::int64_t input : inputs[i])
      if (input > 0) {
        std::size_t& other = distance[static_cast<std::size_t>(input - 1)];
        other = std::max(other, distance[i] + 1);
      }
  std::vector<std::size_t> open = {count - 1};
  for (std::size_t next = 0; !open.empty();) {
    const std::size_t layer = open.back();
    open.pop_back();
    if (met[layer] != count) continue;
    met[layer] = next++;
    for (std::size_t i = inputs[layer].size(); i-- > 0;)
      if (inputs[layer][i] > 0) open.push_back(static_cast<std::size_t>(inputs[layer][i] - 1));
  }
  for (std::size_t i = 0; i < count; ++i) order.push_back(i);
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return distance[a] != distance[b] ? distance[a] > distance[b] : met[a] < met[b];
  });
  return order;
}

}  // namespace retort
