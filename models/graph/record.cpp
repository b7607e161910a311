#include "models/graph/record.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/io/layout.h"
#include "models/graph/builder.h"
#include "models/graph/network.h"
#include "models/head.h"

namespace retort {
namespace {

using Attributes = GraphBuilder::Attributes;

/// Not an op of graphs: it stands for one until settle_adaptive_pools.
constexpr const char* kAdaptivePool = "adaptive_average_pool";

std::vector<double> one(std::int64_t value) { return {static_cast<double>(value)}; }

/// The ops that a recorder saw, as nodes.
class Nodes {
 public:
  Nodes(Network& network, const Tensor& image) {
    for (const Parameter* parameter : parameters(network)) names_[parameter->value.raw()] = parameter->name;
    values_.push_back(image);
  }

  GraphBuilder take(const std::vector<RecordedOp>& ops, const Tensor& logits) {
    for (const RecordedOp& op : ops) add(op);
    check(value_of(logits) == static_cast<std::int64_t>(values_.size()) - 1,
          "the network's last op does not give its logits; it can't be exported");
    return std::move(graph_);
  }

 private:
  /// The number of the value that a tensor is. Two of them share their elements only if one is a view of the other.
  std::int64_t value_of(const Tensor& x) const {
    for (std::size_t i = values_.size(); i-- > 0;)
      if (values_[i].raw() == x.raw() && values_[i].shape() == x.shape()) return static_cast<std::int64_t>(i);
    throw Error(text("the network computes ", x.shape(), " by an op that is not recorded; it can't be exported"));
  }

  std::string layer(const Tensor& weight) const {
    const auto found = names_.find(weight.raw());
    check(found != names_.end(), "a weight of ", weight.shape(), " is no parameter; the network can't be exported");
    return found->second.substr(0, found->second.rfind(".weight"));
  }

  std::int64_t node(const std::string& name, const char* op, std::vector<std::int64_t> inputs, const Tensor& y,
                    const Attributes& attributes = {}) {
    values_.push_back(y);
    return graph_.add(name, op, std::move(inputs), attributes);
  }

  void add(const RecordedOp& op) {
    const std::string name = op.op;
    const Tensor &x = op.inputs[0], &y = op.output;
    Attributes settings;
    for (const auto& [key, value] : op.settings) settings[key] = {value};
    if (name == "conv2d" || name == "conv2d_inference") return convolution(op, std::move(settings));
    if (name == "linear") {
      const std::string layer = this->layer(op.inputs[1]);
      const Shape& weight = op.inputs[1].shape();
      Attributes attributes = {{"in", one(weight[0])}, {"out", one(weight[1])}};
      if (const Shape image = image_of(x); image.rank() == 3)
        attributes.insert({{"h", one(image[0])}, {"w", one(image[1])}, {"c", one(image[2])}});
      const std::int64_t result = node(layer, "linear", {value_of(x)}, y, attributes);
      if (op.settings.at("relu") != 0) node(layer + ".relu", "relu", {result}, y);
    } else if (name == "relu" || name == "max_pool" || name == "average_pool") {
      node(name, op.op, {value_of(x)}, y, settings);
    } else if (name == "adaptive_average_pool") {
      const Shape &in = x.shape(), &out = y.shape();
      check(in[1] == in[2] && out[1] == out[2], "the network pools ", in, " to ", out, "; it can't be exported");
      if (out[1] == 1)
        node("pool", "global_average_pool", {value_of(x)}, y);
      else
        node("pool", kAdaptivePool, {value_of(x)}, y, {{"from", one(in[1])}, {"to", one(out[1])}});
    } else if (name == "reshape" && x.shape().rank() == 4 && y.shape().rank() == 2) {
      node("flatten", "flatten", {value_of(x)}, y);
    } else if (name == "concat") {
      std::vector<std::int64_t> inputs;
      for (const Tensor& part : op.inputs) inputs.push_back(value_of(part));
      node("concat", "concat", std::move(inputs), y);
    } else if (name == "shortcut") {
      shortcut(op);
    } else {
      throw Error(text("the op ", name, " has no node; the network can't be exported"));
    }
  }

  /// [h, w, c] of the map that features were flattened from.
  Shape image_of(const Tensor& features) const {
    const GraphNode* from = value_of(features) > 0 ? &graph_.spec.nodes[value_of(features) - 1] : nullptr;
    if (!from || from->op != "flatten") return {};
    const Shape& map = values_[from->inputs[0]].shape();
    return map[1] * map[2] == 1 ? Shape() : Shape{map[1], map[2], map[3]};
  }

  void convolution(const RecordedOp& op, Attributes settings) {
    const bool normed = op.inputs.size() == 5;
    const Tensor &x = op.inputs[0], &weight = op.inputs[1], &bias = op.inputs[2], &y = op.output;
    const std::vector<double> relu = settings.at("relu"), eps = settings.at("eps");
    const Shape& filter = weight.shape();
    settings.erase("eps");
    settings.erase("relu");
    settings.insert({{"in", one(x.shape()[3])},
                     {"out", one(filter[3])},
                     {"r", one(filter[0])},
                     {"s", one(filter[1])},
                     {"bias", one(bias ? 1 : 0)}});
    std::int64_t result = node(layer(weight), "conv", {value_of(x)}, y, settings);
    if (normed) {
      const std::string norm = layer(op.inputs[3]);
      result = node(norm, "batch_norm", {result}, y, {{"channels", one(filter[3])}, {"eps", eps}});
      if (op.inputs[4]) result = node(norm + ".add", "add", {result, value_of(op.inputs[4])}, y);
    }
    if (relu[0] != 0) node(layer(weight) + ".relu", "relu", {result}, y);
  }

  /// Every stride-th pixel is a pooling of one; the channels of zeros are zero times channels that there are.
  void shortcut(const RecordedOp& op) {
    const Tensor &x = op.inputs[0], &y = op.output;
    const std::int64_t channels = x.shape()[3], before = (y.shape()[3] - channels) / 2,
                       after = y.shape()[3] - channels - before;
    std::int64_t from = value_of(x);
    // None of these is what a later op reads.
    if (op.settings.at("stride") != 1)
      from = node("shortcut.pool", "max_pool", {from}, {},
                  {{"kernel", one(1)}, {"stride", {op.settings.at("stride")}}, {"pad", one(0)}});
    std::vector<std::int64_t> parts;
    const auto zeros = [&](std::int64_t left) {
      for (; left > 0; left -= std::min(left, channels)) {
        const std::int64_t some = node("shortcut.channels", "channels", {from}, {},
                                       {{"begin", one(0)}, {"count", one(std::min(left, channels))}});
        parts.push_back(node("shortcut.zeros", "affine", {some}, {}, {{"alpha", one(0)}, {"beta", one(0)}}));
      }
    };
    zeros(before);
    parts.push_back(from);
    zeros(after);
    node("shortcut", "concat", std::move(parts), y);
  }

  std::map<const void*, std::string> names_;
  std::vector<Tensor> values_;  ///< each by number; of several with the same elements the last counts
  GraphBuilder graph_;
};

GraphSpec spec_of(Network& network, const ModelSpec& spec, const Tensor& image) {
  if (auto* headed = dynamic_cast<HeadedNetwork*>(&network)) {
    GraphSpec graph = spec_of(headed->body(), spec, image);
    headed->append_to(graph);
    return graph;
  }
  if (const auto* graph = dynamic_cast<const GraphNetwork*>(&network)) return graph->spec();
  Recorder recorder;
  ForwardContext context;
  const Tensor logits = network.forward(image, context);
  return Nodes(network, image).take(recorder.ops(), logits).spec;
}

/// Takes node `index` out; who read it reads its input.
void remove(GraphSpec& spec, std::size_t index) {
  const auto value = static_cast<std::int64_t>(index) + 1, input = spec.nodes[index].inputs[0];
  spec.nodes.erase(spec.nodes.begin() + static_cast<std::ptrdiff_t>(index));
  for (GraphNode& node : spec.nodes)
    for (std::int64_t& read : node.inputs) read = read == value ? input : read > value ? read - 1 : read;
}

std::size_t readers_of(const GraphSpec& spec, std::int64_t value) {
  std::size_t count = 0;
  for (const GraphNode& node : spec.nodes) count += static_cast<std::size_t>(std::ranges::count(node.inputs, value));
  return count;
}

/// [floor(i h / p), ceil((i + 1) h / p)): what output i of p averages of h.
struct Window {
  std::int64_t begin, end;
};
Window window_of(std::int64_t i, std::int64_t h, std::int64_t p) { return {i * h / p, ((i + 1) * h + p - 1) / p}; }

/// W [out, c, p, p] behind a pooling of h x h to p x p, as a weight [out, c, h, h] of the map before it.
Tensor through_pool(const Tensor& weight, std::int64_t channels, std::int64_t h, std::int64_t p) {
  const std::int64_t rows = weight.count() / (p * p), out = rows / channels;
  Tensor result = Tensor::zeros({out, channels * h * h});
  const float* from = weight.data<float>();
  std::vector<double> sums(static_cast<std::size_t>(h * h));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::ranges::fill(sums, 0);
    for (std::int64_t i = 0; i < p; ++i)
      for (std::int64_t j = 0; j < p; ++j) {
        const Window y = window_of(i, h, p), x = window_of(j, h, p);
        const double share = from[(row * p + i) * p + j] / static_cast<double>((y.end - y.begin) * (x.end - x.begin));
        for (std::int64_t r = y.begin; r < y.end; ++r)
          for (std::int64_t s = x.begin; s < x.end; ++s) sums[static_cast<std::size_t>(r * h + s)] += share;
      }
    for (std::int64_t i = 0; i < h * h; ++i)
      result.data<float>()[row * h * h + i] = static_cast<float>(sums[static_cast<std::size_t>(i)]);
  }
  return result;
}

/// Adaptive pooling is none where it changes no size, and average pooling where the map's is a multiple; else the
/// linear layer behind it takes it over.
void settle_adaptive_pools(PlainGraph& graph) {
  for (std::size_t i = graph.spec.nodes.size(); i-- > 0;) {
    GraphNode& pool = graph.spec.nodes[i];
    if (pool.op != kAdaptivePool) continue;
    const std::int64_t h = pool.integer("from", 1, kMaxGraphExtent), p = pool.integer("to", 1, kMaxGraphExtent);
    if (h % p == 0 && h > p) {
      pool.op = "average_pool";
      pool.attributes = {{"kernel", one(h / p)}, {"stride", one(h / p)}};
      continue;
    }
    if (h != p) {
      GraphNode* linear = i + 2 < graph.spec.nodes.size() ? &graph.spec.nodes[i + 2] : nullptr;
      check(linear && graph.spec.nodes[i + 1].op == "flatten" && linear->op == "linear", "node ", pool.name, ": pools ",
            h, " x ", h, " to ", p, " x ", p,
            " and no linear layer follows, which has no node; give --image-size a multiple");
      const std::int64_t channels = linear->integer("c", 1, kMaxGraphExtent);
      Tensor& weight = graph.tensors.at(linear->name + ".weight");
      weight = through_pool(weight, channels, h, p);
      linear->attributes["h"] = linear->attributes["w"] = one(h);
      linear->attributes["in"] = one(channels * h * h);
    }
    remove(graph.spec, i);
  }
}

/// What evaluation does not do, and what the nodes do not read.
void drop_unused(PlainGraph& graph) {
  for (std::size_t i = graph.spec.nodes.size(); i-- > 0;)
    if (graph.spec.nodes[i].op == "dropout" && graph.spec.nodes.size() > 1) remove(graph.spec, i);
  std::map<std::string, Tensor> read;
  for (const GraphNode& node : graph.spec.nodes)
    for (const char* part : {".weight", ".weight_scale", ".bias", ".running_mean", ".running_var", ".value"})
      if (const auto found = graph.tensors.find(node.name + part); found != graph.tensors.end()) read.insert(*found);
  graph.tensors = std::move(read);
}

/// Relu is a node of its own.
void split_relu(GraphSpec& spec) {
  for (std::size_t i = 0; i < spec.nodes.size(); ++i) {
    GraphNode& node = spec.nodes[i];
    const auto found = node.attributes.find("relu");
    if (node.op != "conv" || found == node.attributes.end()) continue;
    const bool on = found->second[0] != 0;
    node.attributes.erase(found);
    if (!on) continue;
    const auto value = static_cast<std::int64_t>(i) + 1;
    const GraphNode relu{node.name + ".relu", "relu", {value}, {}};
    for (GraphNode& other : spec.nodes)
      for (std::int64_t& read : other.inputs) read += read >= value ? 1 : 0;
    spec.nodes.insert(spec.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, relu);
  }
}

/// The extents of every value, as they come out for one image.
void measure(PlainGraph& graph) {
  Random nothing = Random::unused();
  GraphNetwork network(graph.spec, nothing);
  ForwardContext context;
  graph.shapes = {};
  network.forward(Tensor::zeros({1, graph.image[0], graph.image[1], graph.image[2]}), context,
                  [&](std::size_t, const Tensor& value) { graph.shapes.push_back(value.shape()); });
}

}  // namespace

const Tensor& PlainGraph::tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  check(found != tensors.end(), "the network has no tensor ", name, "; it can't be exported");
  return found->second;
}

PlainGraph plain_graph(Model& model) {
  const NoGrad no_grad;
  Network& network = *model.network;
  to_device(network, Device::cpu);
  const Preprocessing& input = model.spec.preprocessing;
  PlainGraph graph;
  graph.image = {input.image_size, input.image_size, input.channels};
  const Tensor image = Tensor::zeros({1, input.image_size, input.image_size, input.channels});
  graph.spec = spec_of(network, model.spec, image);
  for (const Parameter* parameter : parameters(network))
    graph.tensors[parameter->name] = to_file_layout(*parameter, parameter->value);
  settle_adaptive_pools(graph);
  split_relu(graph.spec);
  drop_unused(graph);
  measure(graph);
  return graph;
}

void fold_batch_norm(PlainGraph& graph) {
  for (std::size_t i = graph.spec.nodes.size(); i-- > 0;) {
    const GraphNode norm = graph.spec.nodes[i];
    if (norm.op != "batch_norm" || norm.inputs[0] == 0 || readers_of(graph.spec, norm.inputs[0]) != 1) continue;
    GraphNode& layer = graph.spec.nodes[static_cast<std::size_t>(norm.inputs[0]) - 1];
    if (layer.op != "conv" && layer.op != "linear") continue;
    const auto part = [&](const char* name) { return graph.tensor(norm.name + name).data<float>(); };
    const float *gamma = part(".weight"), *beta = part(".bias"), *mean = part(".running_mean"),
                *var = part(".running_var");
    const double eps = norm.number("eps", 1e-5);
    const Tensor weight = graph.tensor(layer.name + ".weight").clone();
    const std::int64_t out = weight.shape()[0], each = weight.count() / out;
    const auto old = graph.tensors.find(layer.name + ".bias");
    const Tensor bias = old == graph.tensors.end() ? Tensor::zeros({out}) : old->second.clone();
    for (std::int64_t k = 0; k < out; ++k) {
      const double scale = gamma[k] / std::sqrt(var[k] + eps);
      for (std::int64_t j = 0; j < each; ++j)
        weight.data<float>()[k * each + j] = static_cast<float>(weight.data<float>()[k * each + j] * scale);
      bias.data<float>()[k] = static_cast<float>((double{bias.data<float>()[k]} - mean[k]) * scale + beta[k]);
    }
    graph.tensors[layer.name + ".weight"] = weight;
    graph.tensors[layer.name + ".bias"] = bias;
    if (layer.op == "conv") layer.attributes["bias"] = one(1);
    remove(graph.spec, i);
  }
  drop_unused(graph);
  measure(graph);
}

void normalise_inside(PlainGraph& graph, const Preprocessing& input) {
  constexpr double kWhite = 255;
  const std::int64_t channels = graph.image[2];
  const Tensor scale = Tensor::empty({channels}), shift = Tensor::empty({channels});
  for (std::int64_t c = 0; c < channels; ++c) {
    const double mean = input.mean[static_cast<std::size_t>(c)], std = input.std[static_cast<std::size_t>(c)];
    scale.data<float>()[c] = static_cast<float>(1 / (kWhite * std));
    shift.data<float>()[c] = static_cast<float>(-mean / std);
  }
  for (GraphNode& node : graph.spec.nodes)
    for (std::int64_t& read : node.inputs) ++read;
  graph.spec.nodes.insert(graph.spec.nodes.begin(),
                          GraphNode{"normalise", "channel_affine", {0}, {{"channels", one(channels)}}});
  graph.tensors["normalise.weight"] = scale;
  graph.tensors["normalise.bias"] = shift;
  graph.shapes.insert(graph.shapes.begin(), graph.shapes[0]);
}

}  // namespace retort
