#include "models/graph/int8_layers.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/ops/int8.h"
#include "models/graph/node_options.h"

namespace retort {
namespace {

/// What convolutions and linear layers share: the parameters, and the filter as it is packed when first needed.
class Int8Product : public GraphLayer {
 public:
  Int8Product(Shape weight, FileLayout layout, Shape image, std::vector<ValueForm> inputs, ValueForm output)
      : inputs_(std::move(inputs)), output_(output) {
    const std::int64_t out = weight[-1];
    weight_.value = Tensor::zeros(weight, DType::i8);
    weight_.layout = layout;
    weight_.image = image;
    scale_.value = Tensor::full({out}, 1);
    bias_.value = Tensor::zeros({out});
    scale_.buffer = true;
  }

  void visit(Visitor& visitor) override {
    packed_.reset();  // who asks for the parameters may change them
    visitor("weight", weight_);
    visitor("weight_scale", scale_);
    visitor("bias", bias_);
  }

 protected:
  Tensor product(const Tensor& x, const Conv2dOptions& options, const Tensor& residual = {}) {
    const Quantization* output = output_ ? &*output_ : nullptr;
    const Quantization* added = inputs_.size() > 1 ? &*inputs_[1] : nullptr;
    if (!packed_) {
      const Shape& shape = weight_.value.shape();
      const Tensor filter = shape.rank() == 4 ? weight_.value : weight_.value.reshaped({1, 1, shape[0], shape[1]});
      packed_ = std::make_unique<PackedInt8Filter>(
          pack_int8({filter, scale_.value, bias_.value, *inputs_[0], output, added}, x.device()));
    }
    return conv2d_int8(x, *packed_, {options, output, added}, residual);
  }

  void report(ForwardContext& context, const char* kind, const Tensor& y, std::int64_t each) const {
    if (!context.report) return;
    const std::string name = weight_.name.substr(0, weight_.name.rfind(".weight"));
    context.report->push_back(
        {name, kind, y.shape(), weight_.value.count() + bias_.value.count(), y.count() * each, nullptr});
  }

  Parameter weight_, scale_, bias_;

 private:
  std::vector<ValueForm> inputs_;
  ValueForm output_;
  std::unique_ptr<PackedInt8Filter> packed_;
};

class Int8Conv : public Int8Product {
 public:
  Int8Conv(const Shape& weight, const Conv2dOptions& options, std::vector<ValueForm> inputs, ValueForm output)
      : Int8Product(weight, FileLayout::conv, {}, std::move(inputs), output), options_(options) {}

  static std::unique_ptr<GraphLayer> make(const GraphNode& node, std::vector<ValueForm> inputs, ValueForm output) {
    const std::int64_t in = node.integer("in", 1, kMaxGraphExtent), out = node.integer("out", 1, kMaxGraphExtent),
                       r = node.integer("r", 1, kMaxGraphStep), s = node.integer("s", 1, kMaxGraphStep);
    const Conv2dOptions options = conv_options(node);
    check(options.groups == 1, "node ", node.name, " (conv_int8): it has ", options.groups,
          " groups, expected 1; quantize the model again");
    check_elements(node, {r, s, in, out});
    return std::make_unique<Int8Conv>(Shape{r, s, in, out}, options, std::move(inputs), output);
  }

  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    Tensor y = product(inputs[0], options_, inputs.size() > 1 ? inputs[1] : Tensor());
    const Shape& filter = weight_.value.shape();
    report(context, "Conv2d int8", y, filter[0] * filter[1] * filter[2]);
    return y;
  }

 private:
  Conv2dOptions options_;
};

class Int8Linear : public Int8Product {
 public:
  Int8Linear(const Shape& weight, const Shape& image, bool relu, std::vector<ValueForm> inputs, ValueForm output)
      : Int8Product(weight, image.rank() == 0 ? FileLayout::linear : FileLayout::linear_image, image, std::move(inputs),
                    output) {
    options_.relu = relu;
  }

  static std::unique_ptr<GraphLayer> make(const GraphNode& node, std::vector<ValueForm> inputs, ValueForm output) {
    const std::int64_t in = node.integer("in", 1, kMaxGraphElements), out = node.integer("out", 1, kMaxGraphExtent);
    check_elements(node, {in, out});
    return std::make_unique<Int8Linear>(Shape{in, out}, linear_image(node, in), node.integer("relu", 0, 1, 0) == 1,
                                        std::move(inputs), output);
  }

  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    const Tensor& x = inputs[0];
    const Shape& shape = weight_.value.shape();
    const std::int64_t n = x.shape()[0];
    check(x.count() == n * shape[0], "its input is ", x.shape(), ", expected [n, ", shape[0],
          "]; give images of the size that the network was made for");
    Tensor y = product(x.reshaped({n, 1, 1, shape[0]}), options_).reshaped({n, shape[1]});
    report(context, "Linear int8", y, shape[0]);
    return y;
  }

 private:
  Conv2dOptions options_;
};

class Int8Function : public GraphLayer {
 public:
  using Function = std::function<Tensor(const std::vector<Tensor>&)>;
  explicit Int8Function(Function function) : function_(std::move(function)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext&) override { return function_(inputs); }

 private:
  Function function_;
};

std::unique_ptr<GraphLayer> function(Int8Function::Function f) { return std::make_unique<Int8Function>(std::move(f)); }

enum class Gives : std::uint8_t { own, own_or_float, same, floats };

struct Int8Row {
  const char* word;
  std::size_t least, most;  ///< inputs
  bool reads_bytes;
  Gives gives;
  std::unique_ptr<GraphLayer> (*make)(const GraphNode&, std::vector<ValueForm> inputs, ValueForm output);
};

using Forms = std::vector<ValueForm>;
using Layer = std::unique_ptr<GraphLayer>;
using Inputs = std::vector<Tensor>;

constexpr std::size_t kMany = 1 << 12;

const Int8Row kRows[] = {
    {"quantize", 1, 1, false, Gives::own,
     [](const GraphNode&, Forms, ValueForm to) -> Layer {
       return function([to](const Inputs& x) { return quantize(x[0], *to); });
     }},
    {"dequantize", 1, 1, true, Gives::floats,
     [](const GraphNode&, Forms from, ValueForm) -> Layer {
       return function([from](const Inputs& x) { return dequantize(x[0], *from[0]); });
     }},
    {"conv_int8", 1, 2, true, Gives::own_or_float, Int8Conv::make},
    {"linear_int8", 1, 1, true, Gives::own_or_float, Int8Linear::make},
    {"add_int8", 2, 2, true, Gives::own,
     [](const GraphNode& node, Forms from, ValueForm to) -> Layer {
       const bool relu = node.integer("relu", 0, 1, 0) == 1;
       return function([=](const Inputs& x) { return add_int8(x[0], *from[0], x[1], *from[1], *to, relu); });
     }},
    {"concat_int8", 1, kMany, true, Gives::own,
     [](const GraphNode&, Forms forms, ValueForm to) -> Layer {
       std::vector<Quantization> from;
       for (const ValueForm& form : forms) from.push_back(*form);
       return function([from, to](const Inputs& x) { return concat_int8(x, from, *to); });
     }},
    {"max_pool_int8", 1, 1, true, Gives::same,
     [](const GraphNode& node, Forms, ValueForm) -> Layer {
       return function([o = pool_options(node)](const Inputs& x) { return max_pool_int8(x[0], o); });
     }},
    {"mean_int8", 1, 1, true, Gives::floats,
     [](const GraphNode&, Forms from, ValueForm) -> Layer {
       return function([from](const Inputs& x) { return mean_int8(x[0], *from[0]); });
     }},
};

const Int8Row* row_of(const std::string& op) {
  const auto* const found = std::ranges::find_if(kRows, [&](const Int8Row& row) { return op == row.word; });
  return found == std::end(kRows) ? nullptr : found;
}

}  // namespace

std::vector<std::string> int8_ops() {
  std::vector<std::string> words;
  for (const Int8Row& row : kRows) words.emplace_back(row.word);
  return words;
}

bool is_int8_op(const std::string& op) { return row_of(op) != nullptr; }

bool is_int8(const GraphSpec& spec) {
  return std::ranges::any_of(spec.nodes, [](const GraphNode& node) { return is_int8_op(node.op); });
}

void check_trains(const ModelSpec& spec, const std::string& path) {
  check(spec.graph.empty() || !is_int8(graph_from_json(spec.graph, path)), path,
        ": its layers are 8-bit, which have no gradient; give the model that it was made of");
}

Quantization quantization_of(const GraphNode& node) {
  constexpr std::int64_t kMostZero = 255;
  const double scale = node.number("scale");
  const auto single = static_cast<float>(scale);
  check(std::isfinite(single) && single > 0, "node ", node.name, " (", node.op, "): its `scale` is ", scale,
        ", expected a positive number; quantize the model again");
  return {single, static_cast<std::int32_t>(node.integer("zero", 0, kMostZero))};
}

std::vector<ValueForm> value_forms(const GraphSpec& spec) {
  std::vector<ValueForm> forms(1);
  for (const GraphNode& node : spec.nodes) {
    const Int8Row* const row = row_of(node.op);
    const auto at = [&](std::int64_t input) -> const ValueForm& {
      check(input >= 0 && input < static_cast<std::int64_t>(forms.size()), "node ", node.name, " (", node.op,
            "): it reads what comes after it; save the model again");
      return forms[static_cast<std::size_t>(input)];
    };
    check(!row || (node.inputs.size() >= row->least && node.inputs.size() <= row->most), "node ", node.name, " (",
          node.op, "): ", node.inputs.size(), " inputs, expected ", row ? row->least : 0, "; quantize the model again");
    const bool bytes = row && row->reads_bytes;
    for (const std::int64_t input : node.inputs)
      check(at(input).has_value() == bytes, "node ", node.name, " (", node.op, "): it reads ",
            bytes ? "8-bit integers and gets float" : "float and gets 8-bit integers", "; quantize the model again");
    ValueForm form;
    if (row && (row->gives == Gives::own || (row->gives == Gives::own_or_float && node.attributes.contains("scale"))))
      form = quantization_of(node);
    if (row && row->gives == Gives::same) form = at(node.inputs[0]);
    forms.push_back(form);
  }
  check(!forms.back(),
        "the graph's last node gives 8-bit integers, expected logits in float; quantize the model again");
  return forms;
}

std::unique_ptr<GraphLayer> make_int8_layer(const GraphNode& node, std::vector<ValueForm> inputs, ValueForm output) {
  return row_of(node.op)->make(node, std::move(inputs), output);
}

}  // namespace retort
