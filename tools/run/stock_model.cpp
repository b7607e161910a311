#include "tools/run/stock_model.h"

#include <map>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "models/graph/int8_layers.h"

namespace retort {
namespace {

constexpr std::int64_t kMnistSize = 28, kMnistChannels = 1;
constexpr std::int64_t kLargestCifarSize = 64;

/// An 8-bit network, whose ops no tape records, by its own list of nodes. What changes a value's form is left out.
std::vector<OutlineNode> nodes_of(const GraphSpec& spec, const std::vector<LayerReport>& layers) {
  std::map<std::string, const LayerReport*> layer_of;
  for (const LayerReport& layer : layers) layer_of[layer.name] = &layer;
  std::vector<OutlineNode> nodes;
  std::vector<std::ptrdiff_t> made = {-1};  // the box that gave a value; value 0 is the image
  std::map<std::string, int> counts;
  for (const GraphNode& node : spec.nodes) {
    std::vector<std::ptrdiff_t> inputs;
    for (const std::int64_t input : node.inputs) inputs.push_back(made[static_cast<std::size_t>(input)]);
    if (node.op == "quantize" || node.op == "dequantize" || node.op == "flatten" || node.op == "reshape") {
      made.push_back(inputs[0]);
      continue;
    }
    made.push_back(static_cast<std::ptrdiff_t>(nodes.size()));
    if (const auto found = layer_of.find(node.name); found != layer_of.end())
      nodes.push_back(layer_node(*found->second, std::move(inputs)));
    else
      nodes.push_back({text(node.op, " ", ++counts[node.op]), "", std::move(inputs)});
  }
  return nodes;
}

}  // namespace

Model stock_model(const std::string& architecture, std::int64_t image_size, std::uint64_t seed) {
  const bool mlp = architecture.starts_with("mlp");
  Model model;
  model.spec.architecture = architecture;
  Preprocessing& input = model.spec.preprocessing;
  input = default_preprocessing(architecture, mlp ? kMnistSize : 0, mlp ? kMnistChannels : 3);
  model.spec.classes = numbered_classes(input.image_size > kLargestCifarSize ? 1000 : 10);
  if (image_size > 0) input.image_size = image_size;
  model.network = make_network(model.spec, seed);
  return model;
}

Model stock_or_saved_model(const std::string& model, std::int64_t image_size, const CommonOptions& common) {
  if (is_architecture(model)) return stock_model(model, image_size, common.seed);
  Model saved = open_model(model, "", {}, nullptr, common);
  if (image_size > 0) saved.spec.preprocessing.image_size = image_size;
  return saved;
}

std::vector<LayerReport> layers_of(Network& network, const Preprocessing& input) {
  parameters(network);  // names the layers
  const NoGrad no_grad;
  std::vector<LayerReport> layers;
  ForwardContext context;
  context.report = &layers;
  const Tensor image = Tensor::zeros({1, input.image_size, input.image_size, input.channels});
  network.forward(image.to(device_of(network)), context);
  return layers;
}

NetworkOutline outline_of(Model& model) {
  const Preprocessing& input = model.spec.preprocessing;
  parameters(*model.network);  // names the layers
  NetworkOutline outline{model.spec.architecture,
                         text(input.image_size, " x ", input.image_size, " x ", input.channels),
                         {},
                         static_cast<std::int64_t>(model.spec.classes.size()),
                         {}};
  ForwardContext context;
  context.report = &outline.layers;
  Tensor image = Tensor::zeros({1, input.image_size, input.image_size, input.channels}).to(device_of(*model.network));
  Tape tape;
  tape.keep_trace();
  image.require_grad();
  model.network->forward(image, context);
  const auto* graph = dynamic_cast<const GraphNetwork*>(model.network.get());
  outline.nodes = graph && is_int8(graph->spec()) ? nodes_of(graph->spec(), outline.layers)
                                                  : outline_nodes(tape.trace(), outline.layers, image);
  return outline;
}

}  // namespace retort
