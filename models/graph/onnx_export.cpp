// Values are NHWC here and NCHW there. So each value of the file is in one of two orders: as in memory, or channels
// first, which features that were flattened from a map can be in as well. An op says which it reads and gives, and a
// transpose stands between two that differ: in a convolutional network nowhere.
#include "models/graph/onnx_export.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/protobuf.h"
#include "models/graph/int8_layers.h"

namespace retort {
namespace {

constexpr std::int64_t kIrVersion = 8, kOpset = 17;  // the intermediate format that opset 17 came with
constexpr std::int64_t kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7;  // TensorProto.DataType

using Dims = std::vector<std::int64_t>;

/// A node's attributes, in the words of onnx.proto's AttributeProto.
class Attributes {
 public:
  Attributes& integer(const char* name, std::int64_t value) {
    return add(ProtoWriter().bytes(1, name).integer(3, value).integer(20, 2));
  }
  Attributes& real(const char* name, double value) {
    return add(ProtoWriter().bytes(1, name).real(2, static_cast<float>(value)).integer(20, 1));
  }
  Attributes& integers(const char* name, const Dims& values) {
    ProtoWriter attribute;
    attribute.bytes(1, name);
    for (const std::int64_t value : values) attribute.integer(8, value);
    return add(attribute.integer(20, 7));
  }
  const std::vector<ProtoWriter>& all() const { return all_; }

 private:
  Attributes& add(const ProtoWriter& attribute) {
    all_.push_back(attribute);
    return *this;
  }
  std::vector<ProtoWriter> all_;
};

/// The parts of a file: nodes as text, weights where they lie.
class File {
 public:
  void node(const std::string& name, const char* op, const std::vector<std::string>& inputs, const std::string& output,
            const Attributes& attributes) {
    ProtoWriter node;
    for (const std::string& input : inputs) node.bytes(1, input);
    node.bytes(2, output).bytes(3, name).bytes(4, op);
    for (const ProtoWriter& attribute : attributes.all()) node.message(5, attribute);
    nodes_.message(1, node);
  }
  void weight(const std::string& name, const Dims& dims, const Tensor& values) {
    const std::int64_t type = values.dtype() == DType::i8 ? kInt8 : values.dtype() == DType::i32 ? kInt32 : kFloat;
    weights_.push_back({tensor(name, dims, type), values});
  }
  void integers(const std::string& name, const Dims& values) {
    ProtoWriter whole = tensor(name, {static_cast<std::int64_t>(values.size())}, kInt64);
    whole.bytes(9, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof values[0]});
    constants_.message(5, whole);
  }
  void scalar(const std::string& name, double value) {
    ProtoWriter whole = tensor(name, {}, kFloat);
    const auto single = static_cast<float>(value);
    whole.bytes(9, {reinterpret_cast<const char*>(&single), sizeof single});
    constants_.message(5, whole);
  }

  void byte(const std::string& name, std::int32_t value) {
    ProtoWriter whole = tensor(name, {}, kUint8);
    const auto single = static_cast<char>(static_cast<unsigned char>(value));
    whole.bytes(9, {&single, 1});
    constants_.message(5, whole);
  }

  /// `values` are the graph's input and output.
  void write(const std::string& path, const ProtoWriter& values, const OnnxExportOptions& options) const {
    ProtoWriter title;
    title.bytes(2, "retort");
    std::vector<std::string> heads;  // of each weight, up to its elements
    std::uint64_t size = nodes_.text().size() + title.text().size() + constants_.text().size() + values.text().size();
    for (const Weight& weight : weights_) {
      ProtoWriter data, head;
      data.begin_bytes(9, weight.values.bytes());
      head.begin_bytes(5, weight.head.text().size() + data.text().size() + weight.values.bytes());
      heads.push_back(head.text() + weight.head.text() + data.text());
      size += heads.back().size() + weight.values.bytes();
    }
    constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max();
    check(size < kMost, path, ": the network takes ", size, " bytes, and an ONNX file has fewer than ", kMost,
          ": use --format npz");
    ProtoWriter model, tail;
    model.integer(1, kIrVersion).bytes(2, "retort").bytes(3, options.producer_version).begin_bytes(7, size);
    tail.message(8, ProtoWriter().bytes(1, "").integer(2, kOpset));
    for (const auto& [key, value] : options.metadata) tail.message(14, ProtoWriter().bytes(1, key).bytes(2, value));
    write_atomic(path, [&](const ByteSink& sink) {
      const auto put = [&](const std::string& bytes) {
        sink({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
      };
      put(model.text());
      put(nodes_.text());
      put(title.text());
      for (std::size_t i = 0; i < weights_.size(); ++i) {
        put(heads[i]);
        sink({static_cast<const std::uint8_t*>(weights_[i].values.raw()), weights_[i].values.bytes()});
      }
      put(constants_.text());
      put(values.text());
      put(tail.text());
    });
  }

 private:
  struct Weight {
    ProtoWriter head;
    Tensor values;
  };
  static ProtoWriter tensor(const std::string& name, const Dims& dims, std::int64_t type) {
    ProtoWriter tensor;
    for (const std::int64_t dim : dims) tensor.integer(1, dim);
    return tensor.integer(2, type).bytes(8, name);
  }

  ProtoWriter nodes_, constants_;
  std::vector<Weight> weights_;
};

/// An input or output; the batch is called n.
ProtoWriter value_info(const std::string& name, const Dims& dims) {
  ProtoWriter shape;
  shape.message(1, ProtoWriter().bytes(2, "n"));
  for (const std::int64_t dim : dims) shape.message(1, ProtoWriter().integer(1, dim));
  const ProtoWriter tensor = ProtoWriter().integer(1, kFloat).message(2, shape);
  return ProtoWriter().bytes(1, name).message(2, ProtoWriter().message(1, tensor));
}

enum class Order : std::uint8_t { memory, channels_first };

struct Value {
  std::string name;
  Shape shape;  ///< in memory, of one image
  Order order = Order::memory;
  Shape map = {};  ///< [h, w, c] of features with channels first

  int rank() const { return shape.rank(); }
};

/// [0, ...]: the batch as it is, and the extents of a shape after it.
Dims batch_and(const Shape& shape) {
  Dims dims = {0};
  for (int i = 1; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

class Export {
 public:
  explicit Export(const PlainGraph& graph) : graph_(graph), forms_(value_forms(graph.spec)) {}

  void run(const std::string& path, const OnnxExportOptions& options) {
    values_.push_back({"image", graph_.shapes[0], Order::channels_first});
    for (std::size_t i = 0; i < graph_.spec.nodes.size(); ++i) {
      node_ = &graph_.spec.nodes[i];
      shape_ = graph_.shapes[i + 1];
      form_ = forms_[i + 1];
      values_.push_back(visit());
    }
    Value logits = values_.back();
    node_ = nullptr;
    if (logits.rank() != 2) logits.name = emit("Flatten", {logits.name}, Attributes().integer("axis", 1), "flat");
    file_.node("logits", "Identity", {logits.name}, "logits", {});
    ProtoWriter values;
    values.message(11, value_info("image", {graph_.image[2], graph_.image[0], graph_.image[1]}));
    values.message(12, value_info("logits", {graph_.shapes.back().count()}));
    file_.write(path, values, options);
  }

 private:
  // ---- Names, nodes and constants ----

  std::string name(const char* part = "") const {
    const std::string own = node_ ? node_->name : "logits";
    return *part ? text(own, "/", part) : own;
  }
  std::string emit(const char* op, const std::vector<std::string>& inputs, const Attributes& attributes = {},
                   const char* part = "") {
    std::string output = text(name(part), "_", ++count_);
    file_.node(output, op, inputs, output, attributes);
    return output;
  }
  std::string integers(const Dims& values) {
    std::string constant = text(name("shape"), "_", ++count_);
    file_.integers(constant, values);
    return constant;
  }
  std::string scalar(double value) {
    std::string constant = text(name("value"), "_", ++count_);
    file_.scalar(constant, value);
    return constant;
  }
  /// A weight of the node under its own name, with the extents that the file wants of it.
  std::string weight(const char* part, const Dims& dims) {
    std::string own = text(node_->name, ".", part);
    file_.weight(own, dims, graph_.tensor(own));
    return own;
  }
  std::int64_t integer(const char* key, std::int64_t otherwise = 0) const {
    return static_cast<std::int64_t>(node_->number(key, static_cast<double>(otherwise)));
  }
  std::string reshape(const std::string& x, const Dims& dims) {
    return emit("Reshape", {x, integers(dims)}, {}, "reshape");
  }
  std::string transpose(const std::string& x, const Dims& order) {
    return emit("Transpose", {x}, Attributes().integers("perm", order), "transpose");
  }

  // ---- The two orders ----

  Value in_memory(Value x) {
    if (x.order == Order::memory) return x;
    if (x.rank() == 2)
      x.name = reshape(transpose(reshape(x.name, {0, x.map[2], x.map[0], x.map[1]}), {0, 2, 3, 1}), batch_and(x.shape));
    else
      x.name = transpose(x.name, {0, 2, 3, 1});
    x.order = Order::memory;
    x.map = {};
    return x;
  }
  /// Of a map; or of features, of which `map` says what map they were.
  Value channels_first(Value x, const Shape& map = {}) {
    if (x.order == Order::channels_first || (x.rank() == 2 && map.rank() == 0)) return x;
    if (x.rank() == 4) {
      x.name = transpose(x.name, {0, 3, 1, 2});
    } else {
      x.name = reshape(transpose(reshape(x.name, {0, map[0], map[1], map[2]}), {0, 3, 1, 2}), batch_and(x.shape));
      x.map = map;
    }
    x.order = Order::channels_first;
    return x;
  }
  const Value& input(std::size_t i = 0) const { return values_[static_cast<std::size_t>(node_->inputs[i])]; }
  /// Maps channels first, all else as in memory: how ops that know channels read them.
  Value by_channels(std::size_t i = 0) { return input(i).rank() == 4 ? channels_first(input(i)) : in_memory(input(i)); }

  Value result(std::string name, Order order, const Shape& map = {}) { return {std::move(name), shape_, order, map}; }
  /// What is done to each element leaves the order.
  Value each(std::string name) { return result(std::move(name), input().order, input().map); }

  // ---- Ops ----

  Value convolution() {
    const Value x = channels_first(input());
    const std::int64_t in = integer("in"), out = integer("out"), r = integer("r"), s = integer("s"),
                       groups = integer("groups", 1), pad_h = integer("pad_h"), pad_w = integer("pad_w");
    std::vector<std::string> inputs = {x.name, weight("weight", {out, in / groups, r, s})};
    if (integer("bias", 1) == 1) inputs.push_back(weight("bias", {out}));
    return result(emit("Conv", inputs,
                       Attributes()
                           .integers("kernel_shape", {r, s})
                           .integers("strides", {integer("stride_h", 1), integer("stride_w", 1)})
                           .integers("pads", {pad_h, pad_w, pad_h, pad_w})
                           .integers("dilations", {integer("dilation_h", 1), integer("dilation_w", 1)})
                           .integer("group", groups)),
                  Order::channels_first);
  }

  Value linear() {
    const std::int64_t in = integer("in"), out = integer("out");
    if (input().rank() == 2) {
      const Shape map = node_->attributes.contains("h") ? Shape{integer("h"), integer("w"), integer("c")} : Shape();
      const Value x = map.rank() == 0 ? in_memory(input()) : channels_first(input(), map);
      return result(
          emit("Gemm", {x.name, weight("weight", {out, in}), weight("bias", {out})}, Attributes().integer("transB", 1)),
          Order::memory);
    }
    // Tokens: ONNX multiplies matrices of any number of axes from the right.
    const Value x = in_memory(input());
    const std::string own = node_->name + ".weight";
    const Tensor &given = graph_.tensor(own), turned = Tensor::empty({in, out});
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i) turned.data<float>()[i * out + o] = given.data<float>()[o * in + i];
    file_.weight(own, {in, out}, turned);
    return result(emit("Add", {emit("MatMul", {x.name, own}, {}, "product"), weight("bias", {out})}), Order::memory);
  }

  /// One weight and one bias a channel, and perhaps what batch norm has beside them.
  Value batch_norm() {
    const Value x = by_channels();
    const std::int64_t c = integer("channels");
    check(x.rank() != 3, "node ", node_->name, " (batch_norm): it normalises tokens, which ONNX's does not");
    return result(emit("BatchNormalization",
                       {x.name, weight("weight", {c}), weight("bias", {c}), weight("running_mean", {c}),
                        weight("running_var", {c})},
                       Attributes().real("epsilon", node_->number("eps", 1e-5))),
                  x.order);
  }
  Value channel_affine() {
    const Value x = by_channels();
    const std::int64_t c = integer("channels");
    const Dims dims = x.rank() == 4 ? Dims{c, 1, 1} : Dims{c};
    const std::string scaled = emit("Mul", {x.name, weight("weight", dims)}, {}, "scaled");
    return result(emit("Add", {scaled, weight("bias", dims)}), x.order);
  }
  Value layer_norm() {
    const Value x = in_memory(input());
    const std::int64_t c = integer("channels");
    return result(emit("LayerNormalization", {x.name, weight("weight", {c}), weight("bias", {c})},
                       Attributes().integer("axis", -1).real("epsilon", node_->number("eps", 1e-5))),
                  Order::memory);
  }

  /// The class's token, once for each image of the batch.
  Value token() {
    const Value x = in_memory(input());
    const std::int64_t tokens = integer("tokens"), channels = integer("channels");
    const std::string batch =
        emit("Slice", {emit("Shape", {x.name}, {}, "extents"), integers({0}), integers({1})}, {}, "batch");
    const std::string extents =
        emit("Concat", {batch, integers({tokens, channels})}, Attributes().integer("axis", 0), "extents");
    const std::string each = emit("Expand", {weight("value", {1, tokens, channels}), extents}, {}, "each");
    return result(emit("Concat", {each, x.name}, Attributes().integer("axis", 1)), Order::memory);
  }
  Value position() {
    Value x = in_memory(input());
    const std::int64_t tokens = integer("tokens"), channels = integer("channels");
    const bool shaped = x.rank() != 3;  // readers expect positions to be added to tokens
    if (shaped) x.name = reshape(x.name, {0, tokens, channels});
    const std::string sum = emit("Add", {x.name, weight("value", {1, tokens, channels})});
    return result(shaped ? reshape(sum, batch_and(shape_)) : sum, Order::memory);
  }

  Value pool() {
    const Value x = channels_first(input());
    const bool max = node_->op.starts_with("max_pool");
    const std::int64_t kernel = integer("kernel"), stride = integer("stride", 1), pad = integer("pad");
    Attributes attributes;
    attributes.integers("kernel_shape", {kernel, kernel})
        .integers("strides", {stride, stride})
        .integers("pads", {pad, pad, pad, pad})
        .integer("ceil_mode", integer("ceil"));
    if (!max) attributes.integer("count_include_pad", integer("count_include_pad"));
    return result(emit(max ? "MaxPool" : "AveragePool", {x.name}, attributes), Order::channels_first);
  }

  Value flatten() {
    const Value& x = input();
    if (x.rank() != 4) return {in_memory(x).name, shape_};
    const bool moves = x.order == Order::channels_first && x.shape[1] * x.shape[2] > 1 && x.shape[3] > 1;
    std::string flat = emit("Flatten", {x.name}, Attributes().integer("axis", 1));
    return moves ? result(std::move(flat), Order::channels_first, {x.shape[1], x.shape[2], x.shape[3]})
                 : result(std::move(flat), Order::memory);
  }
  Value reshaped() { return result(reshape(in_memory(input()).name, batch_and(shape_)), Order::memory); }

  Value concat() {
    std::vector<std::string> inputs;
    for (std::size_t i = 0; i < node_->inputs.size(); ++i) inputs.push_back(by_channels(i).name);
    return result(emit("Concat", inputs, Attributes().integer("axis", channel_axis())), channel_order());
  }
  std::int64_t channel_axis() const { return shape_.rank() == 4 ? 1 : shape_.rank() - 1; }
  Order channel_order() const { return shape_.rank() == 4 ? Order::channels_first : Order::memory; }
  std::string sliced(const std::string& x, std::int64_t axis, std::int64_t begin, std::int64_t count) {
    return emit("Slice", {x, integers({begin}), integers({begin + count}), integers({axis})}, {}, "slice");
  }
  Value channels() {
    return result(sliced(by_channels().name, channel_axis(), integer("begin"), integer("count")), channel_order());
  }
  Value reverse_channels() {
    const Value x = by_channels();
    std::vector<std::string> parts;
    for (std::int64_t c = shape_[-1]; c-- > 0;) parts.push_back(sliced(x.name, channel_axis(), c, 1));
    return result(emit("Concat", parts, Attributes().integer("axis", channel_axis())), channel_order());
  }
  Value shuffle() {
    const Value x = channels_first(input());
    const std::int64_t groups = integer("groups"), h = shape_[1], w = shape_[2], c = shape_[3];
    const std::string apart = transpose(reshape(x.name, {0, groups, c / groups, h, w}), {0, 2, 1, 3, 4});
    return result(reshape(apart, {0, c, h, w}), Order::channels_first);
  }
  /// Some of each `inner` values: along the axis whose extents from there on are so many, where there is one.
  Value slice() {
    const Value x = in_memory(input());
    const std::int64_t inner = integer("inner"), begin = integer("begin"), count = integer("count");
    std::int64_t below = 1;
    for (int axis = x.rank() - 1; axis >= 1; --axis) {
      if (below * x.shape[axis] == inner && begin % below == 0 && count % below == 0) {
        std::string part = sliced(x.name, axis, begin / below, count / below);
        Dims dims = batch_and(x.shape);
        dims[static_cast<std::size_t>(axis)] = count / below;
        return result(dims == batch_and(shape_) ? part : reshape(part, batch_and(shape_)), Order::memory);
      }
      below *= x.shape[axis];
    }
    const std::string rows = reshape(x.name, {0, x.shape.count() / inner, inner});
    return result(reshape(sliced(rows, 2, begin, count), batch_and(shape_)), Order::memory);
  }
  Value pad() {
    const Value x = channels_first(input());
    const Dims border = {0, 0, integer("top"), integer("left"), 0, 0, integer("bottom"), integer("right")};
    return result(emit("Pad", {x.name, integers(border), scalar(node_->number("fill", 0))}), Order::channels_first);
  }

  Value sum_or_product() {
    const char* const op = node_->op == "add" ? "Add" : "Mul";
    if (input(0).shape == input(1).shape) {
      const Value &a = input(0), &b = input(1);
      const bool same = a.order == b.order && a.map == b.map;
      return same ? each(emit(op, {a.name, b.name}))
                  : result(emit(op, {in_memory(a).name, in_memory(b).name}), Order::memory);
    }
    // One factor a channel.
    const Value x = channels_first(input(0));
    Value s = input(1);
    s = s.rank() == 4 ? channels_first(s) : s;
    if (s.rank() == 2) s.name = reshape(s.name, {0, s.shape[1], 1, 1});
    return result(emit(op, {x.name, s.name}), Order::channels_first);
  }

  Value softmax() {
    const Value x = in_memory(input());
    return result(emit("Softmax", {x.name}, Attributes().integer("axis", -1)), Order::memory);
  }
  Value matmul() {
    const std::int64_t heads = integer("heads", 1);
    const auto side = [&](std::size_t i, const char* in_channels, const char* turned) {
      const Value x = in_memory(input(i));
      if (integer(in_channels) == 0) return integer(turned) == 1 ? transpose(x.name, {0, 1, 3, 2}) : x.name;
      const std::string apart = reshape(x.name, {0, x.shape[1], heads, x.shape[2] / heads});
      return transpose(apart, integer(turned) == 1 ? Dims{0, 2, 3, 1} : Dims{0, 2, 1, 3});
    };
    const std::string a = side(0, "a_in_channels", "transpose_a"), b = side(1, "b_in_channels", "transpose_b");
    const std::string y = emit("MatMul", {a, b});
    if (integer("y_in_channels") == 0) return result(y, Order::memory);
    return result(reshape(transpose(y, {0, 2, 1, 3}), batch_and(shape_)), Order::memory);
  }

  // ---- 8 bits: what is stored as integers passes through a QuantizeLinear and a DequantizeLinear, and between them
  // all
  // ---- ops are those of float

  /// x as it is once stored in the node's form.
  std::string stored(const std::string& x) {
    if (!form_) return x;
    const std::string scale = scalar(form_->scale), zero = text(name("zero"), "_", ++count_);
    file_.byte(zero, form_->zero);
    return emit("DequantizeLinear", {emit("QuantizeLinear", {x, scale, zero}, {}, "quantized"), scale, zero});
  }
  Value stored(Value x) {
    x.name = stored(x.name);
    return x;
  }
  /// A tensor of integers with one scale for each element of its first axis.
  std::string dequantized(const char* part, const Dims& dims, const Tensor& values, const Tensor& scale) {
    const std::string own = text(node_->name, ".", part), scales = own + "_scale";
    file_.weight(own, dims, values);
    file_.weight(scales, {scale.count()}, scale);
    return emit("DequantizeLinear", {own, scales}, Attributes().integer("axis", 0), part);
  }
  /// The bias, as readers that compute in integers want it: s32, in the scale of the sums.
  std::string sum_bias(std::int64_t out) {
    const Tensor &bias = graph_.tensor(node_->name + ".bias"), &scale = graph_.tensor(node_->name + ".weight_scale");
    const float from = forms_[static_cast<std::size_t>(node_->inputs[0])]->scale;
    const Tensor whole = Tensor::empty({out}, DType::i32), scales = Tensor::empty({out});
    constexpr double kMost = std::numeric_limits<std::int32_t>::max();
    for (std::int64_t k = 0; k < out; ++k) {
      const float unit = from * scale.data<float>()[k];
      const double value = std::nearbyint(double{bias.data<float>()[k]} / unit);
      if (!(std::abs(value) < kMost)) return weight("bias", {out});
      scales.data<float>()[k] = unit;
      whole.data<std::int32_t>()[k] = static_cast<std::int32_t>(value);
    }
    return dequantized("bias", {out}, whole, scales);
  }
  std::string activated(const std::string& x) { return integer("relu") == 1 ? emit("Relu", {x}, {}, "relu") : x; }

  Value convolution_int8() {
    const Value x = channels_first(input());
    const std::int64_t in = integer("in"), out = integer("out"), r = integer("r"), s = integer("s"),
                       pad_h = integer("pad_h"), pad_w = integer("pad_w");
    const std::string filter = dequantized("weight", {out, in, r, s}, graph_.tensor(node_->name + ".weight"),
                                           graph_.tensor(node_->name + ".weight_scale"));
    std::string y = emit("Conv", {x.name, filter, sum_bias(out)},
                         Attributes()
                             .integers("kernel_shape", {r, s})
                             .integers("strides", {integer("stride_h", 1), integer("stride_w", 1)})
                             .integers("pads", {pad_h, pad_w, pad_h, pad_w})
                             .integers("dilations", {integer("dilation_h", 1), integer("dilation_w", 1)}),
                         "product");
    if (node_->inputs.size() > 1) y = emit("Add", {y, channels_first(input(1)).name}, {}, "sum");
    return result(stored(activated(y)), Order::channels_first);
  }
  Value linear_int8() {
    const std::int64_t in = integer("in"), out = integer("out");
    Value x = input();
    if (x.rank() == 4) {
      const Shape map = {x.shape[1], x.shape[2], x.shape[3]};
      x = channels_first(x);
      x.name = emit("Flatten", {x.name}, Attributes().integer("axis", 1), "flat");
      x.shape = {1, in};
      x.map = map;
    }
    const bool by_map = node_->attributes.contains("h");
    x = by_map ? channels_first(x, {integer("h"), integer("w"), integer("c")}) : in_memory(x);
    const std::string matrix = dequantized("weight", {out, in}, graph_.tensor(node_->name + ".weight"),
                                           graph_.tensor(node_->name + ".weight_scale"));
    const std::string y = emit("Gemm", {x.name, matrix, sum_bias(out)}, Attributes().integer("transB", 1), "product");
    return result(stored(activated(y)), Order::memory);
  }
  Value add_int8() {
    const Value a = channels_first(input(0)), b = channels_first(input(1));
    Value y = a;
    y.name = stored(activated(emit("Add", {a.name, b.name}, {}, "sum")));
    return y;
  }
  Value concat_int8() { return stored(concat()); }
  Value pool_int8() { return stored(pool()); }
  Value quantize() { return each(stored(input().name)); }
  Value dequantize() { return each(input().name); }
  Value mean() { return result(emit("GlobalAveragePool", {channels_first(input()).name}), Order::channels_first); }

  // ---- Activations ----

  Value affine() {
    const double alpha = node_->number("alpha"), beta = node_->number("beta");
    std::string y = input().name;
    if (alpha != 1 || beta == 0) y = emit("Mul", {y, scalar(alpha)}, {}, "scaled");
    if (beta != 0) y = emit("Add", {y, scalar(beta)});
    return each(y);
  }
  Value clip() {
    const auto bound = [&](const char* key) {
      const double value = node_->number(key);
      return std::isinf(value) ? std::string() : scalar(value);
    };
    return each(emit("Clip", {input().name, bound("alpha"), bound("beta")}));
  }
  Value silu() { return each(emit("Mul", {input().name, emit("Sigmoid", {input().name}, {}, "sigmoid")})); }
  Value hard_sigmoid() {
    return each(emit("HardSigmoid", {input().name},
                     Attributes().real("alpha", node_->number("alpha")).real("beta", node_->number("beta"))));
  }
  /// x (1 + erf(x / sqrt 2)) / 2: Gelu itself came with opset 20.
  Value gelu() {
    const std::string &x = input().name, inside = emit("Div", {x, scalar(std::sqrt(2.0))}, {}, "inside");
    const std::string sum = emit("Add", {emit("Erf", {inside}, {}, "erf"), scalar(1)}, {}, "sum");
    return each(emit("Mul", {emit("Mul", {x, sum}, {}, "product"), scalar(0.5)}));
  }
  Value gelu_tanh() {
    constexpr double kCubic = 0.044715, kPi = 3.14159265358979323846;
    const std::string& x = input().name;
    const std::string cube = emit("Mul", {emit("Mul", {x, x}, {}, "square"), x}, {}, "cube");
    const std::string sum = emit("Add", {x, emit("Mul", {cube, scalar(kCubic)}, {}, "scaled")}, {}, "sum");
    const std::string inside = emit("Tanh", {emit("Mul", {sum, scalar(std::sqrt(2 / kPi))}, {}, "inside")}, {}, "tanh");
    const std::string product = emit("Mul", {x, emit("Add", {inside, scalar(1)}, {}, "plus")}, {}, "product");
    return each(emit("Mul", {product, scalar(0.5)}));
  }

  Value visit() {
    using Op = Value (Export::*)();
    static const std::map<std::string, Op> ops = {{"conv", &Export::convolution},
                                                  {"linear", &Export::linear},
                                                  {"batch_norm", &Export::batch_norm},
                                                  {"channel_affine", &Export::channel_affine},
                                                  {"layer_norm", &Export::layer_norm},
                                                  {"token", &Export::token},
                                                  {"position", &Export::position},
                                                  {"max_pool", &Export::pool},
                                                  {"average_pool", &Export::pool},
                                                  {"conv_int8", &Export::convolution_int8},
                                                  {"linear_int8", &Export::linear_int8},
                                                  {"add_int8", &Export::add_int8},
                                                  {"concat_int8", &Export::concat_int8},
                                                  {"max_pool_int8", &Export::pool_int8},
                                                  {"quantize", &Export::quantize},
                                                  {"dequantize", &Export::dequantize},
                                                  {"global_average_pool", &Export::mean},
                                                  {"mean_int8", &Export::mean},
                                                  {"flatten", &Export::flatten},
                                                  {"reshape", &Export::reshaped},
                                                  {"concat", &Export::concat},
                                                  {"channels", &Export::channels},
                                                  {"reverse_channels", &Export::reverse_channels},
                                                  {"shuffle", &Export::shuffle},
                                                  {"slice", &Export::slice},
                                                  {"pad", &Export::pad},
                                                  {"add", &Export::sum_or_product},
                                                  {"multiply", &Export::sum_or_product},
                                                  {"softmax", &Export::softmax},
                                                  {"matmul", &Export::matmul},
                                                  {"affine", &Export::affine},
                                                  {"clip", &Export::clip},
                                                  {"silu", &Export::silu},
                                                  {"hard_sigmoid", &Export::hard_sigmoid},
                                                  {"gelu", &Export::gelu},
                                                  {"gelu_tanh", &Export::gelu_tanh}};
    static const std::map<std::string, const char*> plain = {
        {"relu", "Relu"}, {"sigmoid", "Sigmoid"}, {"hard_swish", "HardSwish"}, {"erf", "Erf"}, {"tanh", "Tanh"}};
    if (const auto found = ops.find(node_->op); found != ops.end()) return (this->*found->second)();
    if (const auto found = plain.find(node_->op); found != plain.end())
      return each(emit(found->second, {input().name}));
    if (node_->op == "dropout") return input();
    if (node_->op == "leaky_relu")
      return each(emit("LeakyRelu", {input().name}, Attributes().real("alpha", node_->number("alpha"))));
    throw Error(text("node ", node_->name, " (", node_->op, "): ONNX has no form of it here; it can't be exported"));
  }

  const PlainGraph& graph_;
  std::vector<ValueForm> forms_;
  File file_;
  std::vector<Value> values_;
  const GraphNode* node_ = nullptr;  ///< the one that is written
  Shape shape_;                      ///< of its result
  ValueForm form_;                   ///< likewise
  int count_ = 0;                    ///< of names made
};

}  // namespace

void write_onnx(const std::string& path, const PlainGraph& graph, const OnnxExportOptions& options) {
  Export(graph).run(path, options);
}

}  // namespace retort
