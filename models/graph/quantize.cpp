#include "models/graph/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "engine/core/tape.h"
#include "engine/io/layout.h"
#include "models/graph/builder.h"

namespace retort {

// ---- What values are like -------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t kBins = 2048;  // eight to a step of 8 bits
constexpr double kSteps = 255;

/// The least range that holds a range and 0.
struct Interval {
  double low = 0, high = 0;
  double width() const { return high - low; }
};

Quantization quantization_of(const Interval& interval) {
  if (!(interval.width() > 0)) return {1, 0};  // nothing but 0
  const double scale = interval.width() / kSteps;
  return {static_cast<float>(scale), static_cast<std::int32_t>(std::lround(-interval.low / scale))};
}

}  // namespace

struct Calibration::Seen {
  Interval range;
  std::vector<double> bins;  ///< of values other than 0, over the range

  void count(const Tensor& value) {
    bins.resize(kBins);
    if (!(range.width() > 0)) return;
    const double factor = static_cast<double>(kBins) / range.width();
    for (const float x : value.span<float>()) {
      if (x == 0) continue;  // 0 is exact, whatever the scale
      const double bin = (x - range.low) * factor;
      ++bins[std::min(static_cast<std::size_t>(std::max(bin, 0.0)), kBins - 1)];
    }
  }

  /// The sum of squared errors where values are cut to `share` of the range.
  double error(double share) const {
    const Interval kept{range.low * share, range.high * share};
    const double step = kept.width() / kSteps, rounding = step * step / 12;
    double sum = 0;
    for (std::size_t i = 0; i < bins.size(); ++i) {
      if (bins[i] == 0) continue;
      const double x = range.low + (static_cast<double>(i) + 0.5) * range.width() / static_cast<double>(kBins);
      const double beyond = std::max({kept.low - x, x - kept.high, 0.0});
      sum += bins[i] * (beyond > 0 ? beyond * beyond : rounding);
    }
    return sum;
  }

  Quantization form() const {
    constexpr int kLeast = 20, kMost = 100;  // per cent
    double best = 1, least = std::numeric_limits<double>::infinity();
    for (int percent = kMost; percent >= kLeast; --percent) {
      const double share = percent / 100.0, found = error(share);
      if (found < least) {
        least = found;
        best = share;
      }
    }
    return quantization_of({range.low * best, range.high * best});
  }
};

Calibration::Calibration(const PlainGraph& graph)
    : graph_(graph), network_(network_of(graph)), values_(graph.spec.nodes.size() + 1) {}

Calibration::~Calibration() = default;

void Calibration::see_range(const Tensor& images) {
  const NoGrad no_grad;
  ForwardContext context;
  dynamic_cast<GraphNetwork&>(*network_).forward(images, context, [&](std::size_t number, const Tensor& value) {
    Interval& range = values_[number].range;
    for (const float x : value.span<float>()) {
      check(std::isfinite(x), number == 0 ? "the image" : graph_.spec.nodes[number - 1].name, ": a value is ", x,
            ", and a network's are finite; use another model");
      range.low = std::min(range.low, double{x});
      range.high = std::max(range.high, double{x});
    }
  });
}

void Calibration::see_values(const Tensor& images) {
  const NoGrad no_grad;
  ForwardContext context;
  dynamic_cast<GraphNetwork&>(*network_).forward(
      images, context, [&](std::size_t number, const Tensor& value) { values_[number].count(value); });
}

std::vector<Quantization> Calibration::forms() const {
  std::vector<Quantization> forms;
  for (const Seen& value : values_) forms.push_back(value.form());
  return forms;
}

// ---- Nodes rewritten ------------------------------------------------------------------------------------------------

namespace {

using Attributes = GraphBuilder::Attributes;

std::vector<double> one(double value) { return {value}; }

/// A weight of the file's layout, [out, ...], in 8 bits.
struct SmallWeight {
  Tensor weight, scale;
};

SmallWeight quantize_weight(const Tensor& weight) {
  constexpr float kMost = 127;
  const std::int64_t out = weight.shape()[0], each = weight.count() / out;
  SmallWeight small{Tensor::empty(weight.shape(), DType::i8), Tensor::empty({out})};
  for (std::int64_t k = 0; k < out; ++k) {
    const float* const from = weight.data<float>() + k * each;
    float most = 0;
    for (std::int64_t j = 0; j < each; ++j) most = std::max(most, std::abs(from[j]));
    const float scale = most > 0 ? most / kMost : 1;
    small.scale.data<float>()[k] = scale;
    for (std::int64_t j = 0; j < each; ++j)
      small.weight.data<std::int8_t>()[k * each + j] =
          static_cast<std::int8_t>(std::clamp(std::nearbyint(from[j] / scale), -kMost, kMost));
  }
  return small;
}

/// A node of the result: one of the graph's, or a product and what follows it.
struct Group {
  std::size_t product;              ///< conv, linear or add
  std::optional<std::int64_t> sum;  ///< the value that is added to a convolution
  bool relu = false;
};

class Rewriting {
 public:
  Rewriting(const PlainGraph& graph, std::vector<Quantization> forms, const std::set<std::string>& keep)
      : graph_(graph), nodes_(graph.spec.nodes), forms_(std::move(forms)), readers_(nodes_.size() + 1) {
    for (const GraphNode& node : nodes_)
      for (const std::int64_t input : node.inputs) ++readers_[at(input)];
    choose_layers(keep);
    choose_groups();
    share_scales();
  }

  QuantizedGraph run() {
    floats_[0] = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const auto value = static_cast<std::int64_t>(i) + 1;
      if (inside_[i])
        continue;
      else if (const auto group = groups_.find(i); group != groups_.end())
        emit(group->second, value);
      else if (nodes_[i].op == "max_pool" && has_bytes(nodes_[i].inputs[0]))
        pool(nodes_[i], value);
      else if (nodes_[i].op == "concat" && in_bytes_[i])
        concat(nodes_[i], value);
      else if (nodes_[i].op == "flatten" && has_bytes(nodes_[i].inputs[0]) && readers_are(value, &Rewriting::is_linear))
        alias(nodes_[i], value);
      else if (nodes_[i].op == "global_average_pool" && has_bytes(nodes_[i].inputs[0]))
        floats_[value] = out_.add(nodes_[i].name, "mean_int8", {bytes(nodes_[i].inputs[0])});
      else
        copy(nodes_[i], value);
    }
    floats(static_cast<std::int64_t>(nodes_.size()));
    result_.graph.spec = out_.spec;
    result_.graph.image = graph_.image;
    return std::move(result_);
  }

 private:
  static std::size_t at(std::int64_t value) { return static_cast<std::size_t>(value); }
  const Shape& shape(std::int64_t value) const { return graph_.shapes[at(value)]; }

  // ---- What becomes of which node ----

  bool is_product(std::size_t i) const { return layer_[i]; }
  bool is_linear(std::size_t i) const { return layer_[i] && nodes_[i].op == "linear"; }
  bool takes_bytes(std::size_t i) const {
    const std::string& op = nodes_[i].op;
    return layer_[i] || op == "max_pool" || op == "global_average_pool" ||
           (op == "concat" && shape(static_cast<std::int64_t>(i) + 1).rank() == 4) || is_sum(i) || op == "flatten";
  }
  bool is_sum(std::size_t i) const {
    return nodes_[i].op == "add" && shape(nodes_[i].inputs[0]) == shape(nodes_[i].inputs[1]);
  }
  bool readers_are(std::int64_t value, bool (Rewriting::*kind)(std::size_t) const) const {
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (std::ranges::count(nodes_[i].inputs, value) > 0 && !(this->*kind)(i)) return false;
    return readers_[at(value)] > 0;
  }
  bool some_reader(std::int64_t value, bool (Rewriting::*kind)(std::size_t) const) const {
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (std::ranges::count(nodes_[i].inputs, value) > 0 && (this->*kind)(i)) return true;
    return false;
  }
  /// The only reader of a value, if it is of this op.
  std::optional<std::size_t> sole_reader(std::int64_t value, const char* op) const {
    if (readers_[at(value)] != 1) return {};
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].op == op && std::ranges::count(nodes_[i].inputs, value) == 1) return i;
    return {};
  }

  void choose_layers(const std::set<std::string>& keep) {
    layer_.assign(nodes_.size(), false);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const GraphNode& node = nodes_[i];
      if (node.op != "conv" && node.op != "linear") continue;
      const Tensor& weight = graph_.tensor(node.name + ".weight");
      std::string why;
      if (keep.contains(node.name)) why = "the logits lose much by it";
      if (node.number("groups", 1) != 1) why = "it has groups";
      if (node.op == "linear" && shape(node.inputs[0]).rank() != 2) why = "its input is tokens";
      if (weight.count() / weight.shape()[0] > kMaxInt8Depth) why = "its sums could overflow 32 bits";
      layer_[i] = why.empty();
      if (why.empty())
        result_.quantized.push_back(node.name);
      else
        result_.kept.push_back({node.name, why});
    }
  }

  /// The sum and the ReLU behind a product become part of it.
  void choose_groups() {
    inside_.assign(nodes_.size(), false);
    in_bytes_.assign(nodes_.size(), false);
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].op == "concat" && takes_bytes(i))
        in_bytes_[i] = some_reader(static_cast<std::int64_t>(i) + 1, &Rewriting::takes_bytes);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (inside_[i] || !(layer_[i] || is_sum(i))) continue;
      std::size_t last = i;
      Group group{i, {}, false};
      if (nodes_[i].op == "conv")
        if (const auto sum = sole_reader(value_of(i), "add"); sum && is_sum(*sum) && !taken(*sum)) {
          const std::vector<std::int64_t>& inputs = nodes_[*sum].inputs;
          group.sum = inputs[0] == value_of(i) ? inputs[1] : inputs[0];
          summed_.insert(*sum);
          inside_[last] = true;
          last = *sum;
        }
      if (nodes_[i].op == "add" && taken(i)) continue;
      if (const auto relu = sole_reader(value_of(last), "relu")) {
        group.relu = true;
        inside_[last] = true;
        last = *relu;
      }
      groups_.emplace(last, group);
    }
  }
  bool taken(std::size_t sum) const { return summed_.contains(sum); }
  static std::int64_t value_of(std::size_t node) { return static_cast<std::int64_t>(node) + 1; }

  /// Who feeds a concatenation alone is stored as its result is, so that nothing is rounded twice.
  void share_scales() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!in_bytes_[i]) continue;
      for (const std::int64_t input : nodes_[i].inputs)
        if (input > 0 && readers_[at(input)] == 1 && groups_.contains(at(input) - 1))
          forms_[at(input)] = forms_[at(value_of(i))];
    }
  }

  // ---- Values in either form ----

  bool has_bytes(std::int64_t value) const { return bytes_.contains(value); }

  std::int64_t bytes(std::int64_t value) {
    if (const auto found = bytes_.find(value); found != bytes_.end()) return found->second;
    const Quantization& form = forms_[at(value)];
    return bytes_[value] = out_.add(name(value) + ".quantize", "quantize", {floats(value)}, attributes(form));
  }
  std::int64_t floats(std::int64_t value) {
    if (const auto found = floats_.find(value); found != floats_.end()) return found->second;
    return floats_[value] = out_.add(name(value) + ".dequantize", "dequantize", {bytes_.at(value)});
  }
  std::string name(std::int64_t value) const { return value == 0 ? "image" : nodes_[at(value) - 1].name; }

  static Attributes attributes(const Quantization& form, Attributes more = {}) {
    more.insert({{"scale", one(form.scale)}, {"zero", one(form.zero)}});
    return more;
  }

  // ---- Nodes ----

  void copy(const GraphNode& node, std::int64_t value) {
    std::vector<std::int64_t> inputs;
    for (const std::int64_t input : node.inputs) inputs.push_back(floats(input));
    floats_[value] = out_.add(node.name, node.op.c_str(), std::move(inputs), node.attributes);
    const std::string own = out_.node(floats_[value]).name;
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var", ".value"})
      if (const auto found = graph_.tensors.find(node.name + part); found != graph_.tensors.end())
        result_.graph.tensors[own + part] = found->second;
  }

  void emit(const Group& group, std::int64_t value) {
    const GraphNode& node = nodes_[group.product];
    const bool small = some_reader(value, &Rewriting::takes_bytes);
    Attributes more = node.op == "add" ? Attributes() : node.attributes;
    more["relu"] = one(group.relu ? 1 : 0);
    if (node.op == "add") {
      // In float unless both are there in 8 bits.
      if (!small || !has_bytes(node.inputs[0]) || !has_bytes(node.inputs[1])) {
        floats_[value] = out_.add(node.name, "add", {floats(node.inputs[0]), floats(node.inputs[1])});
        if (group.relu) floats_[value] = out_.add(node.name + ".relu", "relu", {floats_[value]});
        return;
      }
      bytes_[value] = out_.add(node.name, "add_int8", {bytes(node.inputs[0]), bytes(node.inputs[1])},
                               attributes(forms_[at(value)], more));
      return;
    }
    more.erase("bias");
    more.erase("groups");
    std::vector<std::int64_t> inputs = {bytes(node.inputs[0])};
    if (group.sum) inputs.push_back(bytes(*group.sum));
    if (small) more = attributes(forms_[at(value)], more);
    const std::int64_t number =
        out_.add(node.name, node.op == "conv" ? "conv_int8" : "linear_int8", std::move(inputs), more);
    (small ? bytes_ : floats_)[value] = number;
    const std::string own = out_.node(number).name;
    const auto bias = graph_.tensors.find(node.name + ".bias");
    put_int8_layer(own, graph_.tensor(node.name + ".weight"), bias != graph_.tensors.end() ? &bias->second : nullptr,
                   forms_[at(node.inputs[0])].scale, result_.graph.tensors);
  }

  void pool(const GraphNode& node, std::int64_t value) {
    bytes_[value] = out_.add(node.name, "max_pool_int8", {bytes(node.inputs[0])}, node.attributes);
    forms_[at(value)] = forms_[at(node.inputs[0])];
  }

  void concat(const GraphNode& node, std::int64_t value) {
    std::vector<std::int64_t> inputs;
    for (const std::int64_t input : node.inputs) inputs.push_back(bytes(input));
    bytes_[value] = out_.add(node.name, "concat_int8", std::move(inputs), attributes(forms_[at(value)]));
  }

  /// A flattened map is the map itself to 8-bit linear layers.
  void alias(const GraphNode& node, std::int64_t value) {
    bytes_[value] = bytes(node.inputs[0]);
    forms_[at(value)] = forms_[at(node.inputs[0])];
  }

  const PlainGraph& graph_;
  const std::vector<GraphNode>& nodes_;
  std::vector<Quantization> forms_;   ///< of each value that is stored in 8 bits
  std::vector<std::size_t> readers_;  ///< likewise
  std::vector<bool> layer_, inside_, in_bytes_;
  std::map<std::size_t, Group> groups_;  ///< by the last of their nodes
  std::set<std::size_t> summed_;
  std::map<std::int64_t, std::int64_t> bytes_, floats_;  ///< a value's numbers in the result
  GraphBuilder out_;
  QuantizedGraph result_;
};

}  // namespace

void put_int8_layer(const std::string& name, const Tensor& weight, const Tensor* bias, float input,
                    std::map<std::string, Tensor>& tensors) {
  const SmallWeight small = quantize_weight(weight);
  Tensor units = Tensor::zeros({small.scale.count()});
  // In whole units of the layer's sums, as integer kernels elsewhere take it: so an export answers as this does.
  for (std::int64_t k = 0; bias && k < units.count(); ++k) {
    const float unit = input * small.scale.data<float>()[k];
    units.data<float>()[k] = std::nearbyint(bias->data<float>()[k] / unit) * unit;
  }
  tensors[name + ".weight"] = small.weight;
  tensors[name + ".weight_scale"] = small.scale;
  tensors[name + ".bias"] = units;
}

QuantizedGraph quantize_graph(const PlainGraph& graph, const std::vector<Quantization>& forms,
                              const std::set<std::string>& keep) {
  return Rewriting(graph, forms, keep).run();
}

std::unique_ptr<Network> network_of(const PlainGraph& graph) {
  Random nothing = Random::unused();
  auto network = std::make_unique<GraphNetwork>(graph.spec, nothing);
  for (Parameter* parameter : parameters(*network))
    if (const auto found = graph.tensors.find(parameter->name); found != graph.tensors.end())
      from_file_layout(found->second, *parameter);
  return network;
}

}  // namespace retort
