#include "models/graph/rehearsal.h"

#include "engine/io/layout.h"
#include "models/graph/builder.h"

namespace retort {
namespace {

using Attributes = GraphBuilder::Attributes;

class Rehearsing {
 public:
  Rehearsing(const PlainGraph& small, const PlainGraph& graph) : small_(small), graph_(graph) {}

  PlainGraph run() {
    for (const GraphNode& node : small_.spec.nodes) values_.push_back(emit(node));
    PlainGraph result;
    result.spec = out_.spec;
    result.image = graph_.image;
    result.tensors = std::move(tensors_);
    return result;
  }

 private:
  std::int64_t value(const GraphNode& node, std::size_t input) const {
    return values_[static_cast<std::size_t>(node.inputs[input])];
  }

  /// The number of what the node gives.
  std::int64_t emit(const GraphNode& node) {
    const std::string& op = node.op;
    if (op == "dequantize") return value(node, 0);
    if (op == "quantize") return rounded(node, value(node, 0));
    if (op == "conv_int8" || op == "linear_int8") return rounded(node, product(node));
    if (op == "add_int8") return rounded(node, rectified(node, out_.add(node.name, "add", inputs(node))));
    if (op == "concat_int8") return rounded(node, out_.add(node.name, "concat", inputs(node)));
    if (op == "max_pool_int8") return out_.add(node.name, "max_pool", inputs(node), node.attributes);
    if (op == "mean_int8") return out_.add(node.name, "global_average_pool", inputs(node));
    const std::int64_t same = out_.add(node.name, op.c_str(), inputs(node), node.attributes);
    take(node.name, small_.tensors);
    return same;
  }

  std::int64_t product(const GraphNode& node) {
    const bool is_conv = node.op == "conv_int8";
    Attributes attributes = node.attributes;
    for (const char* const key : {"relu", "scale", "zero"}) attributes.erase(key);
    attributes["rounded"] = {1};
    attributes["bias"] = {1};
    std::int64_t x = value(node, 0);
    if (!is_conv) x = out_.add(node.name + ".input", "reshape", {x}, {{"dims", attributes.at("in")}});
    std::int64_t y = out_.add(node.name, is_conv ? "conv" : "linear", {x}, attributes);
    check(out_.node(y).name == node.name, "node ", node.name, ": its name is taken; save the model again");
    take(node.name, graph_.tensors);
    tensors_.try_emplace(node.name + ".bias", Tensor::zeros({node.integer("out", 1, kMaxGraphExtent)}));
    if (node.inputs.size() > 1) y = out_.add(node.name + ".sum", "add", {y, value(node, 1)});
    return rectified(node, y);
  }

  std::int64_t rectified(const GraphNode& node, std::int64_t y) {
    return node.integer("relu", 0, 1, 0) == 1 ? out_.add(node.name + ".rectified", "relu", {y}) : y;
  }
  std::int64_t rounded(const GraphNode& node, std::int64_t y) {
    if (!node.attributes.contains("scale")) return y;
    return out_.add(node.name + ".rounded", "fake_quantize", {y},
                    {{"scale", node.attributes.at("scale")}, {"zero", node.attributes.at("zero")}});
  }
  std::vector<std::int64_t> inputs(const GraphNode& node) const {
    std::vector<std::int64_t> numbers;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) numbers.push_back(value(node, i));
    return numbers;
  }
  void take(const std::string& layer, const std::map<std::string, Tensor>& from) {
    for (auto found = from.lower_bound(layer + "."); found != from.end() && found->first.starts_with(layer + ".");
         ++found)
      tensors_.insert(*found);
  }

  const PlainGraph &small_, &graph_;
  std::vector<std::int64_t> values_ = {0};  ///< of the small graph's values, the number here
  GraphBuilder out_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace

PlainGraph rehearsal_of(const PlainGraph& small, const PlainGraph& graph) { return Rehearsing(small, graph).run(); }

PlainGraph with_weights_of(const PlainGraph& small, Network& rehearsal) {
  std::map<std::string, Tensor> trained;
  for (const Parameter* parameter : parameters(rehearsal))
    trained[parameter->name] = to_file_layout(*parameter, parameter->value);
  PlainGraph result = small;
  for (auto& [name, tensor] : result.tensors)
    if (const auto found = trained.find(name); found != trained.end()) tensor = found->second;
  const std::vector<ValueForm> forms = value_forms(small.spec);
  for (const GraphNode& node : small.spec.nodes)
    if (node.op == "conv_int8" || node.op == "linear_int8")
      put_int8_layer(node.name, trained.at(node.name + ".weight"), &trained.at(node.name + ".bias"),
                     forms[static_cast<std::size_t>(node.inputs[0])]->scale, result.tensors);
  return result;
}

}  // namespace retort
