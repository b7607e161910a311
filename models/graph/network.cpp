#include "models/graph/network.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "engine/core/recorder.h"
#include "engine/core/tape.h"
#include "engine/ops/activation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/fake_quantize.h"
#include "engine/ops/matmul.h"
#include "engine/ops/pool.h"
#include "engine/ops/softmax.h"
#include "engine/ops/spatial.h"
#include "models/graph/int8_layers.h"
#include "models/graph/node_options.h"

namespace retort {
namespace {

/// An op that is a function of its inputs.
class FunctionLayer : public GraphLayer {
 public:
  using Function = std::function<Tensor(const std::vector<Tensor>&)>;
  explicit FunctionLayer(Function function) : function_(std::move(function)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext&) override { return function_(inputs); }

 private:
  Function function_;
};

/// Whether a layer's weight is rounded to 8 bits while it trains.
bool is_rounded(const GraphNode& node) { return node.integer("rounded", 0, 1, 0) == 1; }

class ConvLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random& random) {
    const std::int64_t in = node.integer("in", 1, kMaxGraphExtent), out = node.integer("out", 1, kMaxGraphExtent),
                       r = node.integer("r", 1, kMaxGraphStep), s = node.integer("s", 1, kMaxGraphStep);
    const Conv2dOptions options = conv_options(node);
    check(in % options.groups == 0 && out % options.groups == 0, "node ", node.name, " (conv): ", in, " and ", out,
          " channels are no multiples of its ", options.groups, " groups; export the model again");
    check_elements(node, {r, s, in / options.groups, out});
    Conv2d conv(in, out, r, s, options, node.integer("bias", 0, 1, 1) == 1, Init::kaiming_normal_fan_out, random);
    conv.rounded = is_rounded(node);
    return std::make_unique<ConvLayer>(std::move(conv));
  }
  explicit ConvLayer(Conv2d conv) : conv_(std::move(conv)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    return conv_.forward(inputs[0], context);
  }
  void visit(Visitor& visitor) override { conv_.visit(visitor); }
  const Conv2d& conv() const { return conv_; }

 private:
  Conv2d conv_;
};

class LinearLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random& random) {
    const std::int64_t in = node.integer("in", 1, kMaxGraphElements), out = node.integer("out", 1, kMaxGraphExtent);
    check_elements(node, {in, out});
    Linear linear(in, out, Init::kaiming_uniform_default, random, linear_image(node, in));
    linear.rounded = is_rounded(node);
    return std::make_unique<LinearLayer>(std::move(linear));
  }
  explicit LinearLayer(Linear linear) : linear_(std::move(linear)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    return linear_.forward(inputs[0], context);
  }
  void visit(Visitor& visitor) override { linear_.visit(visitor); }

 private:
  Linear linear_;
};

class BatchNormLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random&) {
    return std::make_unique<BatchNormLayer>(
        BatchNorm2d(node.integer("channels", 1, kMaxGraphExtent), node.number("eps", 1e-5)));
  }
  explicit BatchNormLayer(BatchNorm2d bn) : bn_(std::move(bn)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    return bn_.forward(inputs[0], context, /*relu=*/false);
  }
  void visit(Visitor& visitor) override { bn_.visit(visitor); }
  RunningNorm running() const {
    return {bn_.weight.value, bn_.bias.value, bn_.running_mean.value, bn_.running_var.value, bn_.eps};
  }

 private:
  BatchNorm2d bn_;
};

/// A convolution with the nodes that inference runs in its kernel: a border of zeros before it, and behind it batch
/// norm, a sum, ReLU or a clip from 0 on, in this order.
class FusedConvLayer : public GraphLayer {
 public:
  explicit FusedConvLayer(const ConvLayer& conv) : conv_(conv.conv()), options_(conv_.options) {}
  /// Takes the node before in, or says that it doesn't.
  bool take_border(const GraphNode& node) {
    if (node.op != "pad" || node.number("fill", 0) != 0) return false;
    const Border border = border_of(node);
    // A border that takes pixels away leaves zeros of the convolution's own where they were.
    // Kernels take more zeros below and on the right alone.
    if (border.top < 0 || border.left < 0 || border.bottom < border.top || border.right < border.left) return false;
    options_.pad_h += border.top;
    options_.pad_w += border.left;
    options_.more_below = border.bottom - border.top;
    options_.more_right = border.right - border.left;
    return true;
  }
  /// Takes one more node behind in, or says that it doesn't.
  bool take(const GraphNode& node, const GraphLayer& layer) {
    if (options_.relu) return false;
    if (node.op == "batch_norm" && norm_ == nullptr && !adds_) {
      norm_ = static_cast<const BatchNormLayer*>(&layer);
    } else if (node.op == "add" && !adds_) {
      adds_ = true;
    } else if (node.op == "relu") {
      options_.relu = true;
    } else if (node.op == "clip" && node.number("alpha") == 0 && node.number("beta") > 0) {
      options_.relu = true;
      ceiling_ = static_cast<float>(node.number("beta"));
    } else {
      return false;
    }
    return true;
  }
  /// x, and what is added.
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    ConvTail tail{.residual = adds_ ? inputs[1] : Tensor(), .ceiling = ceiling_};
    std::optional<RunningNorm> norm;
    if (norm_ != nullptr) tail.norm = &norm.emplace(norm_->running());
    return conv2d_inference(inputs[0], conv_.weight.value, conv_.bias.value, options_, tail, context.filters);
  }

 private:
  const Conv2d& conv_;
  Conv2dOptions options_;
  const BatchNormLayer* norm_ = nullptr;
  bool adds_ = false;
  float ceiling_ = std::numeric_limits<float>::infinity();
};

/// y = weight x + bias, one of each a channel: batch norm's op with a mean of 0 and a variance of 1, which are no
/// parameters.
class AffineLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random&) {
    return std::make_unique<AffineLayer>(node.integer("channels", 1, kMaxGraphExtent));
  }
  explicit AffineLayer(std::int64_t channels) : mean_(Tensor::zeros({channels})), var_(Tensor::full({channels}, 1)) {
    weight_.value = Tensor::full({channels}, 1).require_grad();
    bias_.value = Tensor::zeros({channels}).require_grad();
  }
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext&) override {
    const Device device = weight_.value.device();
    if (mean_.device() != device) {
      mean_ = mean_.to(device);
      var_ = var_.to(device);
    }
    return batch_norm(inputs[0], weight_.value, bias_.value, mean_, var_, {.training = false, .eps = 0});
  }
  void visit(Visitor& visitor) override {
    visitor("weight", weight_);
    visitor("bias", bias_);
  }

 private:
  Parameter weight_, bias_;
  Tensor mean_, var_;
};

class LayerNormLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random&) {
    return std::make_unique<LayerNormLayer>(
        LayerNorm(node.integer("channels", 1, kMaxGraphExtent), node.number("eps", 1e-5)));
  }
  explicit LayerNormLayer(LayerNorm norm) : norm_(std::move(norm)) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    return norm_.forward(inputs[0], context);
  }
  void visit(Visitor& visitor) override { norm_.visit(visitor); }

 private:
  LayerNorm norm_;
};

/// A parameter [tokens, c], in front of each image's tokens or added to them.
class TokenLayer : public GraphLayer {
 public:
  TokenLayer(const GraphNode& node, bool in_front) : in_front_(in_front) {
    const std::int64_t tokens = node.integer("tokens", 1, kMaxGraphExtent),
                       channels = node.integer("channels", 1, kMaxGraphExtent);
    check_elements(node, {tokens, channels});
    value_.value = Tensor::zeros({tokens, channels}).require_grad();
  }
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    const Tensor& x = inputs[0];
    Tensor y = in_front_ ? prepend(x) : add_to_each(x, value_.value);
    if (context.report)
      context.report->push_back({value_.name.substr(0, value_.name.rfind(".value")), in_front_ ? "Token" : "Position",
                                 y.shape(), value_.value.count(), 0, y.slot()});
    return y;
  }
  void visit(Visitor& visitor) override { visitor("value", value_); }

 private:
  Tensor prepend(const Tensor& x) const {
    const Shape &in = x.shape(), &token = value_.value.shape();
    check(in.rank() == 3 && in[2] == token[1], "its input is ", in, ", expected [n, tokens, ", token[1], "]");
    const Tensor nothing = Tensor::zeros({in[0], token.count()}, x.dtype(), x.device());
    return reshape(concat({add_to_each(nothing, value_.value), reshape(x, {in[0], in[1] * in[2]})}),
                   {in[0], token[0] + in[1], in[2]});
  }

  Parameter value_;
  bool in_front_;
};

class DropoutLayer : public GraphLayer {
 public:
  static std::unique_ptr<GraphLayer> make(const GraphNode& node, Random&) {
    const double p = node.number("p");
    check(p >= 0 && p < 1, "node ", node.name, " (dropout): p is ", p, ", expected [0, 1); export the model again");
    return std::make_unique<DropoutLayer>(p);
  }
  explicit DropoutLayer(double p) : p_(p) {}
  Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) override {
    return dropout_layer(inputs[0], p_, context);
  }

 private:
  double p_;
};

std::unique_ptr<GraphLayer> function(FunctionLayer::Function f) {
  return std::make_unique<FunctionLayer>(std::move(f));
}

std::unique_ptr<GraphLayer> make_activation(const GraphNode& node, ActivationKind kind) {
  const Activation f{kind, node.number("alpha", 0), node.number("beta", 0)};
  return function([f](const std::vector<Tensor>& x) { return activate(x[0], f); });
}

std::unique_ptr<GraphLayer> make_pad(const GraphNode& node, Random&) {
  return function([border = border_of(node)](const std::vector<Tensor>& x) { return pad(x[0], border); });
}

/// Channel i of the result is channel order[i]: `groups` groups side by side become interleaved.
Tensor shuffle_channels(const Tensor& x, std::int64_t groups) {
  const std::int64_t each = x.shape()[-1] / groups;
  check(x.shape()[-1] % groups == 0, "[shuffle] ", x.shape(), " has no ", groups, " groups of channels");
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < each; ++i)
    for (std::int64_t g = 0; g < groups; ++g) parts.push_back(take_channels(x, g * each + i, 1));
  return concat(parts);
}

/// Blue, green, red of red, green, blue.
Tensor reverse_channels(const Tensor& x) {
  std::vector<Tensor> parts;
  for (std::int64_t c = x.shape()[-1]; c-- > 0;) parts.push_back(take_channels(x, c, 1));
  return concat(parts);
}

/// [n, dims...], the batch as it is.
Tensor reshape_images(const Tensor& x, const std::vector<std::int64_t>& dims) {
  const std::int64_t n = x.shape()[0];
  const Shape shape = dims.size() == 1   ? Shape{n, dims[0]}
                      : dims.size() == 2 ? Shape{n, dims[0], dims[1]}
                                         : Shape{n, dims[0], dims[1], dims[2]};
  check(shape.count() == x.count(), "an image of ", x.shape(), " is no ", shape,
        "; give images of the size that the network was made for");
  return reshape(x, shape);
}

std::vector<std::int64_t> image_dims(const GraphNode& node) {
  const auto found = node.attributes.find("dims");
  check(found != node.attributes.end() && !found->second.empty() && found->second.size() < Shape::kMaxRank, "node ",
        node.name, " (", node.op, "): its `dims` are not one to three extents; export the model again");
  std::vector<std::int64_t> dims;
  for (const double extent : found->second) {
    check(extent >= 1 && extent <= static_cast<double>(kMaxGraphElements) && extent == std::floor(extent), "node ",
          node.name, " (", node.op, "): its `dims` have the extent ", extent, "; export the model again");
    dims.push_back(static_cast<std::int64_t>(extent));
  }
  return dims;
}

/// Of rows of `inner` values each, those from `begin` on: a slice along any axis.
std::unique_ptr<GraphLayer> make_slice(const GraphNode& node, Random&) {
  const std::int64_t inner = node.integer("inner", 1, kMaxGraphElements),
                     begin = node.integer("begin", 0, kMaxGraphElements),
                     count = node.integer("count", 1, kMaxGraphElements);
  return function([=, dims = image_dims(node)](const std::vector<Tensor>& x) {
    check(x[0].count() % inner == 0, x[0].shape(), " has no rows of ", inner,
          " values; give images of the size that the network was made for");
    const Tensor rows = take_channels(reshape(x[0], {x[0].count() / inner, inner}), begin, count);
    const std::int64_t n = x[0].shape()[0];
    return reshape_images(reshape(rows, {n, rows.count() / n}), dims);
  });
}

std::unique_ptr<GraphLayer> make_matmul(const GraphNode& node, Random&) {
  const auto layout = [&](const char* key) {
    return node.integer(key, 0, 1, 0) == 1 ? Heads::in_channels : Heads::apart;
  };
  const MatmulOptions options{.heads = node.integer("heads", 1, kMaxGraphExtent),
                              .a = layout("a_in_channels"),
                              .b = layout("b_in_channels"),
                              .y = layout("y_in_channels"),
                              .transpose_a = node.integer("transpose_a", 0, 1, 0) == 1,
                              .transpose_b = node.integer("transpose_b", 0, 1, 0) == 1};
  return function([options](const std::vector<Tensor>& x) { return matmul(x[0], x[1], options); });
}

using Make = std::function<std::unique_ptr<GraphLayer>(const GraphNode&, Random&)>;
struct OpRow {
  const char* word;
  std::size_t least, most;  ///< inputs
  Make make;
};

Make activation_of(ActivationKind kind) {
  return [kind](const GraphNode& node, Random&) { return make_activation(node, kind); };
}
Make plain(const FunctionLayer::Function& f) {
  return [f](const GraphNode&, Random&) { return function(f); };
}

const std::vector<OpRow>& op_rows() {
  constexpr std::size_t kMany = 1 << 12;
  static const std::vector<OpRow> rows = {
      {"conv", 1, 1, ConvLayer::make},
      {"linear", 1, 1, LinearLayer::make},
      {"batch_norm", 1, 1, BatchNormLayer::make},
      {"channel_affine", 1, 1, AffineLayer::make},
      {"layer_norm", 1, 1, LayerNormLayer::make},
      {"token", 1, 1, [](const GraphNode& node, Random&) { return std::make_unique<TokenLayer>(node, true); }},
      {"position", 1, 1, [](const GraphNode& node, Random&) { return std::make_unique<TokenLayer>(node, false); }},
      {"dropout", 1, 1, DropoutLayer::make},
      {"relu", 1, 1, plain([](const std::vector<Tensor>& x) { return relu(x[0]); })},
      {"affine", 1, 1, activation_of(ActivationKind::affine)},
      {"clip", 1, 1, activation_of(ActivationKind::clip)},
      {"sigmoid", 1, 1, activation_of(ActivationKind::sigmoid)},
      {"silu", 1, 1, activation_of(ActivationKind::silu)},
      {"hard_sigmoid", 1, 1, activation_of(ActivationKind::hard_sigmoid)},
      {"hard_swish", 1, 1, activation_of(ActivationKind::hard_swish)},
      {"leaky_relu", 1, 1, activation_of(ActivationKind::leaky_relu)},
      {"gelu", 1, 1, activation_of(ActivationKind::gelu)},
      {"gelu_tanh", 1, 1, activation_of(ActivationKind::gelu_tanh)},
      {"erf", 1, 1, activation_of(ActivationKind::erf)},
      {"tanh", 1, 1, activation_of(ActivationKind::tanh)},
      {"fake_quantize", 1, 1,
       [](const GraphNode& node, Random&) {
         return function(
             [form = quantization_of(node)](const std::vector<Tensor>& x) { return fake_quantize(x[0], form); });
       }},
      {"add", 2, 2, plain([](const std::vector<Tensor>& x) { return add(x[0], x[1]); })},
      {"multiply", 2, 2, plain([](const std::vector<Tensor>& x) { return multiply(x[0], x[1]); })},
      {"concat", 1, kMany, plain([](const std::vector<Tensor>& x) { return concat(x); })},
      {"flatten", 1, 1, plain([](const std::vector<Tensor>& x) { return flatten(x[0]); })},
      {"global_average_pool", 1, 1,
       plain([](const std::vector<Tensor>& x) { return adaptive_average_pool(x[0], 1, 1); })},
      {"softmax", 1, 1, plain([](const std::vector<Tensor>& x) { return softmax(x[0]); })},
      {"matmul", 2, 2, make_matmul},
      {"reshape", 1, 1,
       [](const GraphNode& node, Random&) {
         return function(
             [dims = image_dims(node)](const std::vector<Tensor>& x) { return reshape_images(x[0], dims); });
       }},
      {"slice", 1, 1, make_slice},
      {"pad", 1, 1, make_pad},
      {"max_pool", 1, 1,
       [](const GraphNode& node, Random&) {
         return function([o = pool_options(node)](const std::vector<Tensor>& x) { return max_pool(x[0], o); });
       }},
      {"average_pool", 1, 1,
       [](const GraphNode& node, Random&) {
         return function([o = pool_options(node)](const std::vector<Tensor>& x) { return average_pool(x[0], o); });
       }},
      {"reverse_channels", 1, 1, plain([](const std::vector<Tensor>& x) { return reverse_channels(x[0]); })},
      {"channels", 1, 1,
       [](const GraphNode& node, Random&) {
         const std::int64_t begin = node.integer("begin", 0, kMaxGraphExtent),
                            count = node.integer("count", 1, kMaxGraphExtent);
         return function([=](const std::vector<Tensor>& x) { return take_channels(x[0], begin, count); });
       }},
      {"shuffle", 1, 1,
       [](const GraphNode& node, Random&) {
         const std::int64_t groups = node.integer("groups", 1, kMaxGraphExtent);
         return function([=](const std::vector<Tensor>& x) { return shuffle_channels(x[0], groups); });
       }},
  };
  return rows;
}

const OpRow& row_of(const GraphNode& node) {
  for (const OpRow& row : op_rows())
    if (node.op == row.word) return row;
  throw Error(text("node ", node.name, ": the op '", node.op, "' is not known here; expected ",
                   alternatives(graph_ops()), ": take a newer Retort, or export the model without it"));
}

/// One weight and one bias a channel.
bool is_normalisation(const GraphNode& node) {
  return node.op == "batch_norm" || node.op == "channel_affine" || node.op == "layer_norm";
}

bool is_conv(const GraphNode& node) { return node.op == "conv" || node.op == "conv_int8"; }
bool is_linear(const GraphNode& node) { return node.op == "linear" || node.op == "linear_int8"; }

/// The last node that has weights.
const GraphNode& head_node(const GraphSpec& spec) {
  for (std::size_t i = spec.nodes.size(); i-- > 0;) {
    const GraphNode& node = spec.nodes[i];
    if (is_conv(node) || is_linear(node)) return node;
    check(
        !is_normalisation(node) && node.op != "position", "node ", node.name, " (", node.op,
        "): it comes after the layer that gives the classes, whose number is then fixed; export the model without it");
  }
  throw Error("the graph has no layer that gives classes; export a classifier");
}

}  // namespace

std::vector<std::string> graph_ops() {
  std::vector<std::string> words;
  for (const OpRow& row : op_rows()) words.emplace_back(row.word);
  for (const std::string& word : int8_ops()) words.push_back(word);
  return words;
}

std::int64_t elements_of(const GraphSpec& spec) {
  double all = 0;
  for (const GraphNode& node : spec.nodes) {
    double count = 0;
    if (is_conv(node))
      count = node.number("in") * node.number("out") * node.number("r") * node.number("s") / node.number("groups", 1);
    if (is_linear(node)) count = node.number("in") * node.number("out");
    if (is_normalisation(node)) count = node.number("channels");
    if (node.op == "token" || node.op == "position") count = node.number("tokens") * node.number("channels");
    all += count > 0 ? count : 0;
  }
  return static_cast<std::int64_t>(std::min(all, 0x1p40));
}

std::int64_t classes_of(const GraphSpec& spec) { return head_node(spec).integer("out", 1, kMaxGraphExtent); }

void set_classes(GraphSpec& spec, std::int64_t classes) {
  const std::string name = head_node(spec).name;
  for (GraphNode& node : spec.nodes)
    if (node.name == name) node.attributes["out"] = {static_cast<double>(classes)};
}

GraphNetwork::GraphNetwork(GraphSpec spec, Random& random) : spec_(std::move(spec)) {
  const std::vector<ValueForm> forms = value_forms(spec_);
  for (std::size_t i = 0; i < spec_.nodes.size(); ++i) {
    const GraphNode& node = spec_.nodes[i];
    if (is_int8_op(node.op)) {
      std::vector<ValueForm> inputs;
      for (const std::int64_t input : node.inputs) inputs.push_back(forms[static_cast<std::size_t>(input)]);
      layers_.push_back(make_int8_layer(node, std::move(inputs), forms[i + 1]));
      continue;
    }
    const OpRow& row = row_of(node);
    check(node.inputs.size() >= row.least && node.inputs.size() <= row.most, "node ", node.name, " (", node.op,
          "): ", node.inputs.size(), " inputs, expected ", row.least, "; export the model again");
    for (const std::int64_t input : node.inputs)
      check(input >= 0 && input <= static_cast<std::int64_t>(i), "node ", node.name, " (", node.op,
            "): it reads what comes after it; export the model again");
    layers_.push_back(row.make(node, random));
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) steps_.push_back({i, layers_[i].get(), spec_.nodes[i].inputs, {}});
  fuse_convolutions();
  for (std::vector<Step>* steps : {&steps_, &fused_steps_}) {
    // From behind, the first that reads a value is the last in the forward pass.
    std::set<std::int64_t> read = {static_cast<std::int64_t>(layers_.size())};
    for (std::size_t i = steps->size(); i-- > 0;)
      for (const std::int64_t input : (*steps)[i].inputs)
        if (read.insert(input).second) (*steps)[i].done.push_back(input);
  }
}

/// fused_steps_: steps_ with the nodes that a convolution takes in left out, and of every convolution its form for
/// inference. A chain runs where its last node stands, so that what it adds is there.
void GraphNetwork::fuse_convolutions() {
  const std::size_t count = layers_.size();
  std::vector<std::size_t> readers(count + 1, 0), reader(count + 1, 0);
  for (std::size_t i = 0; i < count; ++i)
    for (const std::int64_t input : spec_.nodes[i].inputs) {
      ++readers[static_cast<std::size_t>(input)];
      reader[static_cast<std::size_t>(input)] = i;
    }
  std::vector<bool> gone(count, false);
  std::map<std::size_t, Step> chains;  // by their last node
  for (std::size_t i = 0; i < count; ++i) {
    const auto* conv = dynamic_cast<const ConvLayer*>(layers_[i].get());
    if (conv == nullptr || conv->conv().rounded) continue;
    auto fused = std::make_unique<FusedConvLayer>(*conv);
    std::size_t last = i;
    std::vector<std::int64_t> inputs = spec_.nodes[i].inputs;
    if (const std::int64_t before = inputs[0] - 1; before >= 0 && readers[static_cast<std::size_t>(before) + 1] == 1 &&
                                                   fused->take_border(spec_.nodes[static_cast<std::size_t>(before)])) {
      inputs = spec_.nodes[static_cast<std::size_t>(before)].inputs;
      gone[static_cast<std::size_t>(before)] = true;
    }
    while (readers[last + 1] == 1) {
      const std::size_t next = reader[last + 1];
      // Of two convolutions that are added up the first to get here takes the sum.
      if (chains.contains(next) || gone[next] || !fused->take(spec_.nodes[next], *layers_[next])) break;
      for (const std::int64_t input : spec_.nodes[next].inputs)
        if (input != static_cast<std::int64_t>(last) + 1) inputs.push_back(input);
      gone[last] = true;
      last = next;
    }
    chains.emplace(last, Step{last, fused.get(), std::move(inputs), {}});
    fused_.push_back(std::move(fused));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (gone[i]) continue;
    const auto chain = chains.find(i);
    fused_steps_.push_back(chain == chains.end() ? steps_[i] : std::move(chain->second));
  }
}

Tensor GraphNetwork::forward(const Tensor& x, ForwardContext& context, const Watch& watch) {
  // Whoever looks at single nodes gets them.
  const bool fuses = !context.training && !context.report && !context.taps && !watch && Tape::active() == nullptr &&
                     Recorder::active() == nullptr;
  std::vector<Tensor> values(layers_.size() + 1);
  values[0] = x;
  if (watch) watch(0, x);
  for (const Step& step : fuses ? fused_steps_ : steps_) {
    std::vector<Tensor> inputs;
    for (const std::int64_t input : step.inputs) inputs.push_back(values[static_cast<std::size_t>(input)]);
    // What nobody reads any more goes before the op runs, so that its memory is there again after it.
    for (const std::int64_t input : step.done) values[static_cast<std::size_t>(input)] = {};
    try {
      values[step.node + 1] = step.layer->forward(inputs, context);
    } catch (const Error& error) {
      const GraphNode& node = spec_.nodes[step.node];
      throw Error(text("node ", node.name, " (", node.op, "): ", error.what()));
    }
    if (watch) watch(step.node + 1, values[step.node + 1]);
  }
  const Tensor& y = values.back();
  return y.shape().rank() == 4 ? flatten(y) : y;
}

void GraphNetwork::visit(Visitor& visitor) {
  for (std::size_t i = 0; i < layers_.size(); ++i) visitor(spec_.nodes[i].name, *layers_[i]);
}

}  // namespace retort
