#include "models/graph/keras.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/zip.h"
#include "models/graph/array.h"
#include "models/graph/builder.h"
#include "models/graph/keras_weights.h"
#include "models/graph/network.h"
#include "models/graph/windows.h"

namespace retort {
namespace {

using Json = nlohmann::json;
using Dims = std::vector<std::int64_t>;
using Attributes = GraphBuilder::Attributes;

constexpr std::int64_t kDefaultImageSize = 224, kMaxImageExtent = 1 << 15;

std::vector<double> one(std::int64_t value) { return {static_cast<double>(value)}; }
std::vector<double> one(double value) { return {value}; }

/// What a layer gives: maps [h, w, c], or features [c].
struct Value {
  std::int64_t node = 0;
  bool maps = true;
  std::int64_t h = 1, w = 1, c = 1;
  bool flat = false;  ///< memory is [n, c]; else [n, h, w, c], where features are of one pixel
};

/// A weight of the graph that is to be filled from the file.
struct Wanted {
  std::string tensor;
  std::size_t layer;
  std::vector<std::string> variables;
  std::size_t index;                     ///< of the variables; beyond them: all `fill`
  Dims from, to;                         ///< extents there and here
  std::vector<std::int64_t> order = {};  ///< of the axes there, as they lie here
  float fill = 0;
  bool two_classes = false;  ///< a row of zeros goes before it
};

/// Works in two steps: the graph from the configuration alone, and then the weights that it wants.
class KerasImport {
 public:
  KerasImport(const KerasModel& model, const std::string& path) : model_(model), path_(path) {}

  void plan();
  Checkpoint fill(const Hdf5File& file);

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw Error(text(path_, ": layer ", layer().name.substr(0, 80), " (", layer().kind.substr(0, 60), "): ", reason));
  }
  const KerasLayer& layer() const { return model_.layers[at_]; }
  bool is_last() const { return at_ + 1 == model_.layers.size(); }

  // The configuration of the layer at hand.
  const Json* find(const char* key) const {
    const Json& config = layer().config;
    return config.is_object() && config.contains(key) && !config[key].is_null() ? &config[key] : nullptr;
  }
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t otherwise) const;
  double real(const char* key, double otherwise) const;
  bool truth(const char* key, bool otherwise) const;
  std::string word(const char* key, const char* otherwise) const;
  /// One number for both axes, or two.
  void pair(const char* key, std::int64_t otherwise, std::int64_t (&to)[2]) const;
  /// Of the channels: the last axis alone.
  void check_axis() const;

  const Value& input(std::size_t index = 0) const {
    return values_[static_cast<std::size_t>(layer().inputs.at(index))];
  }
  const Value& maps() const {
    if (!input().maps || input().flat) refuse("its input has no rows and columns, expected maps");
    return input();
  }
  /// With memory of [n, c].
  Value flattened(const Value& x) {
    if (x.flat) return x;
    Value y = x;
    y.node = graph_.add(layer().name + ".flatten", "flatten", {x.node});
    y.flat = true;
    return y;
  }
  Value add(const char* op, const Value& x, const Attributes& attributes = {}, const char* part = "") {
    Value y = x;
    y.node = graph_.add(layer().name + part, op, {x.node}, attributes);
    return y;
  }
  void want(const std::string& part, const std::vector<std::string>& variables, std::size_t index, Dims from, Dims to,
            std::vector<std::int64_t> order = {}, bool two_classes = false) {
    wanted_.push_back({part, at_, variables, index, std::move(from), std::move(to), std::move(order), 0, two_classes});
  }
  void want_constant(const std::string& tensor, std::int64_t count, float value) {
    wanted_.push_back({tensor, at_, {}, 0, {}, {count}, {}, value, false});
  }

  void choose_pixels();
  static bool is_augmentation(const KerasLayer& layer) { return layer.kind.starts_with("Random"); }
  void leave_out(const KerasLayer& layer) {
    said_.push_back(text(path_, ": its layer ", layer.name.substr(0, 80), " (", layer.kind.substr(0, 40),
                         ") is left out: it does nothing after training"));
  }
  bool takes_pixels(std::size_t at) const;
  Value visit();
  Windows windows(std::int64_t kernel) const;
  Value convolution(const Value& x, Windows w, bool depthwise, std::int64_t filters,
                    const std::vector<std::string>& variables, std::size_t kernel, bool biased, const char* part);
  Value conv(bool depthwise);
  Value separable();
  Value dense();
  Value batch_norm();
  Value pool(bool max);
  Value global_pool();
  Value pad();
  Value reshape(Dims dims);
  Value joined(const char* op);
  Value multiply();
  Value concat();
  /// What an operation has beside its tensor.
  double number() const {
    const bool ordered = layer().kind == "Add" || layer().kind == "Multiply" || !layer().number_first;
    if (layer().numbers.size() != 1 || layer().inputs.size() != 1 || !ordered)
      refuse("its operands are not a tensor and then a number");
    return layer().numbers[0];
  }
  Value scaled(double factor, double shift);
  Value relu(double high, double slope);
  Value activated(Value x, const std::string& name);
  Value activated_by(const Value& x, const char* key);

  const KerasModel& model_;
  const std::string& path_;
  std::size_t at_ = 0;
  GraphBuilder graph_;
  std::vector<Value> values_;
  std::vector<int> reads_;
  std::vector<Wanted> wanted_;
  std::vector<std::size_t> pixel_layers_;  ///< those that become the normalisation of pixels
  bool normalises_ = false;                ///< one of them does
  GraphInput image_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> said_;
};

std::int64_t KerasImport::integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t otherwise) const {
  const Json* found = find(key);
  if (!found) return otherwise;
  if (!found->is_number_integer()) refuse(text("its ", key, " is no whole number; save the model again"));
  const auto value = found->get<std::int64_t>();
  if (value < low || value > high)
    refuse(text("its ", key, " is ", value, ", expected ", low, " to ", high, "; save the model again"));
  return value;
}

double KerasImport::real(const char* key, double otherwise) const {
  const Json* found = find(key);
  if (!found) return otherwise;
  if (found->is_array() && found->size() == 1 && (*found)[0].is_number()) return (*found)[0].get<double>();
  if (!found->is_number()) refuse(text("its ", key, " is not one number"));
  return found->get<double>();
}

bool KerasImport::truth(const char* key, bool otherwise) const {
  const Json* found = find(key);
  if (found && !found->is_boolean()) refuse(text("its ", key, " is neither true nor false; save the model again"));
  return found ? found->get<bool>() : otherwise;
}

std::string KerasImport::word(const char* key, const char* otherwise) const {
  const Json* found = find(key);
  if (!found) return otherwise;
  if (found->is_string()) return found->get<std::string>();
  // A layer or a function as an object: its class, or what it is called.
  for (const char* name : {"config", "class_name"})
    if (found->is_object() && found->contains(name) && (*found)[name].is_string())
      return (*found)[name].get<std::string>();
  refuse(text("its ", key, " is no name"));
}

void KerasImport::pair(const char* key, std::int64_t otherwise, std::int64_t (&to)[2]) const {
  to[0] = to[1] = otherwise;
  const Json* found = find(key);
  if (!found) return;
  const bool two = found->is_array() && found->size() == 2;
  for (std::size_t i = 0; i < 2; ++i) {
    const Json& value = two ? (*found)[i] : *found;
    if (!value.is_number_integer() || value.get<std::int64_t>() < 1 || value.get<std::int64_t>() > kMaxWindowStep)
      refuse(text("its ", key, " are not whole numbers from 1 to ", kMaxWindowStep, "; save the model again"));
    to[i] = value.get<std::int64_t>();
  }
}

void KerasImport::check_axis() const {
  const Json* found = find("axis");
  if (!found) return;
  const Json& axis = found->is_array() && found->size() == 1 ? (*found)[0] : *found;
  const std::int64_t last = input().maps ? 3 : 1;
  if (!axis.is_number_integer() || (axis.get<std::int64_t>() != -1 && axis.get<std::int64_t>() != last))
    refuse("its axis is not the channels'");
}

// ---- layers ---------------------------------------------------------------------------------------------------------

/// Kernel, strides and padding of a convolution; of a pool, whose kernel is the default stride.
Windows KerasImport::windows(std::int64_t kernel) const {
  Windows w;
  if (word("data_format", "channels_last") != "channels_last")
    refuse("its channels come first; save the model with data_format channels_last");
  pair(kernel ? "pool_size" : "kernel_size", kernel ? kernel : 1, w.kernel);
  if (kernel && !find("strides")) {
    w.stride[0] = w.kernel[0];
    w.stride[1] = w.kernel[1];
  } else {
    pair("strides", 1, w.stride);
  }
  pair("dilation_rate", 1, w.dilation);
  const std::string padding = word("padding", "valid");
  if (padding == "same")
    w.pad_same(maps().h, maps().w, /*odd_at_end=*/true);
  else if (padding != "valid")
    refuse(text("its padding is ", padding.substr(0, 40), ", expected same or valid"));
  if (w.out(0, maps().h) < 1 || w.out(1, maps().w) < 1) refuse("its window is larger than the map");
  return w;
}

Value KerasImport::convolution(const Value& x, Windows w, bool depthwise, std::int64_t filters,
                               const std::vector<std::string>& variables, std::size_t kernel, bool biased,
                               const char* part) {
  const std::int64_t groups = depthwise ? x.c : integer("groups", 1, kMaxGraphExtent, 1);
  const std::int64_t out = depthwise ? x.c * filters : filters;
  if (out > kMaxGraphExtent || x.c % groups != 0 || out % groups != 0)
    refuse(
        text(x.c, " channels in and ", out, " out are no multiples of its ", groups, " groups; save the model again"));
  Value given = x;
  const std::int64_t rows = w.out(0, x.h), columns = w.out(1, x.w);
  if (!w.symmetric()) {
    given = add("pad", x, w.border(0), ".pad");
    for (int i = 0; i < 2; ++i) w.begin[i] = w.end[i] = 0;
  }
  Value y = add("conv", given,
                {{"in", one(x.c)},
                 {"out", one(out)},
                 {"r", one(w.kernel[0])},
                 {"s", one(w.kernel[1])},
                 {"stride_h", one(w.stride[0])},
                 {"stride_w", one(w.stride[1])},
                 {"pad_h", one(w.begin[0])},
                 {"pad_w", one(w.begin[1])},
                 {"dilation_h", one(w.dilation[0])},
                 {"dilation_w", one(w.dilation[1])},
                 {"groups", one(groups)},
                 {"bias", one(std::int64_t{biased})}},
                part);
  const std::string name = graph_.node(y.node).name;
  if (depthwise)
    want(name + ".weight", variables, kernel, {w.kernel[0], w.kernel[1], x.c, filters},
         {out, 1, w.kernel[0], w.kernel[1]}, {2, 3, 0, 1});
  else
    want(name + ".weight", variables, kernel, {w.kernel[0], w.kernel[1], x.c / groups, out},
         {out, x.c / groups, w.kernel[0], w.kernel[1]}, {3, 2, 0, 1});
  if (biased) want(name + ".bias", variables, variables.size() - 1, {out}, {out});
  y.h = rows;
  y.w = columns;
  y.c = out;
  return y;
}

Value KerasImport::conv(bool depthwise) {
  const bool biased = truth("use_bias", true);
  std::vector<std::string> variables = {depthwise ? "depthwise_kernel" : "kernel"};
  // Keras 3 calls a depthwise kernel as any other.
  if (depthwise && !model_.before_keras_3) variables[0] = "kernel";
  if (biased) variables.emplace_back("bias");
  const std::int64_t filters =
      depthwise ? integer("depth_multiplier", 1, 1 << 10, 1) : integer("filters", 1, kMaxGraphExtent, 0);
  if (filters < 1) refuse("it does not say its filters; save the model again");
  return activated_by(convolution(maps(), windows(0), depthwise, filters, variables, 0, biased, ""), "activation");
}

Value KerasImport::separable() {
  const bool biased = truth("use_bias", true);
  std::vector<std::string> variables = {"depthwise_kernel", "pointwise_kernel"};
  if (biased) variables.emplace_back("bias");
  const std::int64_t multiplier = integer("depth_multiplier", 1, 1 << 10, 1),
                     filters = integer("filters", 1, kMaxGraphExtent, 0);
  if (filters < 1) refuse("it does not say its filters; save the model again");
  const Value each = convolution(maps(), windows(0), true, multiplier, variables, 0, false, ".depthwise");
  return activated_by(convolution(each, {}, false, filters, variables, 1, biased, ""), "activation");
}

Value KerasImport::dense() {
  const Value& x = input();
  const bool biased = truth("use_bias", true);
  const std::int64_t units = integer("units", 1, kMaxGraphExtent, 0);
  if (units < 1) refuse("it does not say its units; save the model again");
  std::vector<std::string> variables = {"kernel"};
  if (biased) variables.emplace_back("bias");
  const bool two = is_last() && units == 1 && word("activation", "linear") == "sigmoid";
  const std::int64_t out = two ? 2 : units;
  if (x.c > kMaxGraphElements / out) refuse("its matrix would have more than 2^31 elements; save the model again");
  if (two) {
    said_.push_back(
        text(path_, ": gives one probability: it becomes two classes, 0 and 1, whose logits are 0 and its own"));
  }
  const bool as_conv = x.maps && !x.flat;
  Value y = as_conv ? add("conv", x,
                          {{"in", one(x.c)}, {"out", one(out)}, {"r", one(1.0)}, {"s", one(1.0)}, {"bias", one(1.0)}})
                    : add("linear", flattened(x), {{"in", one(x.c)}, {"out", one(out)}});
  const std::string name = graph_.node(y.node).name;
  want(name + ".weight", variables, 0, {x.c, units}, as_conv ? Dims{out, x.c, 1, 1} : Dims{out, x.c}, {1, 0}, two);
  if (biased)
    want(name + ".bias", variables, 1, {units}, {out}, {}, two);
  else
    want_constant(name + ".bias", out, 0);
  y.c = out;
  return activated_by(y, "activation");
}

Value KerasImport::batch_norm() {
  check_axis();
  const Value& x = input();
  const bool scale = truth("scale", true), center = truth("center", true);
  if (truth("renorm", false)) refuse("it renormalises, which is not known here");
  std::vector<std::string> variables;
  if (scale) variables.emplace_back("gamma");
  if (center) variables.emplace_back("beta");
  const std::size_t mean = variables.size();
  variables.insert(variables.end(), {"moving_mean", "moving_variance"});
  const Value y = add("batch_norm", x, {{"channels", one(x.c)}, {"eps", one(real("epsilon", 1e-3))}});
  const std::string name = graph_.node(y.node).name;
  if (scale)
    want(name + ".weight", variables, 0, {x.c}, {x.c});
  else
    want_constant(name + ".weight", x.c, 1);
  if (center)
    want(name + ".bias", variables, mean - 1, {x.c}, {x.c});
  else
    want_constant(name + ".bias", x.c, 0);
  want(name + ".running_mean", variables, mean, {x.c}, {x.c});
  want(name + ".running_var", variables, mean + 1, {x.c}, {x.c});
  return y;
}

Value KerasImport::pool(bool max) {
  Windows w = windows(2);
  const Value& x = maps();
  const std::int64_t rows = w.out(0, x.h), columns = w.out(1, x.w);
  if (w.kernel[0] != w.kernel[1] || w.stride[0] != w.stride[1]) refuse("its windows are not square");
  Value given = x;
  bool ceil = false;
  // Half the window is the most that the op pads itself, and the same at each side.
  if (!w.symmetric() || w.begin[0] != w.begin[1] || 2 * w.begin[0] > w.kernel[0]) {
    if (max) {
      given = add("pad", x, w.border(-std::numeric_limits<double>::infinity()), ".pad");
      for (int i = 0; i < 2; ++i) w.begin[i] = w.end[i] = 0;
    } else {
      // A last window that reaches beyond the map counts only what it holds of it.
      Windows beyond = w;
      beyond.ceil = true;
      for (auto& end : beyond.end) end = 0;
      ceil = !beyond.padded() && beyond.out(0, x.h) == rows && beyond.out(1, x.w) == columns;
      if (!ceil) refuse("its padding differs from side to side");
      w = beyond;
    }
  }
  Value y = add(max ? "max_pool" : "average_pool", given,
                {{"kernel", one(w.kernel[0])},
                 {"stride", one(w.stride[0])},
                 {"pad", one(w.begin[0])},
                 {"ceil", one(std::int64_t{ceil})},
                 {"count_include_pad", one(0.0)}});
  y.h = rows;
  y.w = columns;
  return y;
}

Value KerasImport::global_pool() {
  Value y = add("global_average_pool", maps());
  y.h = y.w = 1;
  y.maps = truth("keepdims", false);
  return y;
}

/// ZeroPadding2D, and Cropping2D, which takes away.
Value KerasImport::pad() {
  const bool crop = layer().kind == "Cropping2D";
  const Json* found = find(crop ? "cropping" : "padding");
  if (word("data_format", "channels_last") != "channels_last")
    refuse("its channels come first; save the model with data_format channels_last");
  std::int64_t sides[2][2];
  for (std::size_t axis = 0; axis < 2; ++axis)
    for (std::size_t end = 0; end < 2; ++end) {
      const Json* value = found;
      for (const std::size_t index : {axis, end})
        if (value && value->is_array()) value = value->size() == 2 ? &(*value)[index] : nullptr;
      if (!value || !value->is_number_integer() || value->get<std::int64_t>() < 0 ||
          value->get<std::int64_t>() > kMaxWindowStep)
        refuse("its borders are not whole numbers from 0 to 4096; save the model again");
      sides[axis][end] = crop ? -value->get<std::int64_t>() : value->get<std::int64_t>();
    }
  Value y = add("pad", maps(),
                {{"top", one(sides[0][0])},
                 {"left", one(sides[1][0])},
                 {"bottom", one(sides[0][1])},
                 {"right", one(sides[1][1])}});
  y.h += sides[0][0] + sides[0][1];
  y.w += sides[1][0] + sides[1][1];
  if (y.h < 1 || y.w < 1) refuse("it leaves nothing of the map");
  return y;
}

/// Between [1, 1, c] and [c] nothing moves, and maps become features in Keras's order, which is memory's.
Value KerasImport::reshape(Dims dims) {
  Value y = input();
  const std::int64_t count = y.h * y.w * y.c;
  if (dims.size() == 1 && (dims[0] == count || dims[0] == -1)) {
    y.maps = false;
    if (count == y.c) return y;
    y = flattened(y);
    y.h = y.w = 1;
    y.c = count;
    return y;
  }
  const bool same = dims.size() == 3 && dims[0] == y.h && dims[1] == y.w && (dims[2] == y.c || dims[2] == -1);
  if (!same) refuse("its shape is not known here: expected all values in a row, or one pixel of channels");
  y.maps = true;
  return y;
}

Value KerasImport::joined(const char* op) {
  Value y = input();
  if (layer().inputs.size() < 2) refuse("it has one input, expected several");
  for (std::size_t i = 1; i < layer().inputs.size(); ++i) {
    const Value& x = input(i);
    if (x.maps != y.maps || x.h != y.h || x.w != y.w || x.c != y.c)
      refuse("its inputs have other shapes, expected equal ones");
    const bool flat = x.flat || y.flat;
    const std::int64_t a = flat ? flattened(y).node : y.node, b = flat ? flattened(x).node : x.node;
    y.flat = flat;
    y.node = graph_.add(layer().name, op, {a, b});
  }
  return y;
}

Value KerasImport::multiply() {
  if (layer().inputs.size() == 2)
    for (const auto& [a, b] : {std::pair{0, 1}, std::pair{1, 0}}) {
      const Value &x = input(static_cast<std::size_t>(a)), &s = input(static_cast<std::size_t>(b));
      if (!x.maps || x.flat || !s.maps || s.h != 1 || s.w != 1 || s.c != x.c) continue;
      Value y = x;
      y.node = graph_.add(layer().name, "multiply", {x.node, s.node});
      return y;
    }
  return joined("multiply");
}

Value KerasImport::concat() {
  check_axis();
  Value y = input();
  bool flat = false;
  for (std::size_t i = 0; i < layer().inputs.size(); ++i) flat |= input(i).flat;
  std::vector<std::int64_t> nodes;
  y.c = 0;
  y.flat = flat;
  for (std::size_t i = 0; i < layer().inputs.size(); ++i) {
    const Value& x = input(i);
    if (x.maps != y.maps || x.h != y.h || x.w != y.w) refuse("its inputs have other rows or columns");
    y.c += x.c;
    nodes.push_back(flat ? flattened(x).node : x.node);
  }
  if (y.c > kMaxGraphExtent) refuse("it joins more than 2^20 channels; save the model again");
  y.node = graph_.add(layer().name, "concat", std::move(nodes));
  return y;
}

Value KerasImport::scaled(double factor, double shift) {
  return add("affine", input(), {{"alpha", one(factor)}, {"beta", one(shift)}});
}

Value KerasImport::relu(double high, double slope) {
  if (real("threshold", 0) != 0) refuse("its threshold is not 0");
  if (slope != 0) {
    if (std::isfinite(high)) refuse("it has both a slope and a greatest value");
    return add("leaky_relu", input(), {{"alpha", one(slope)}});
  }
  if (std::isfinite(high)) return add("clip", input(), {{"alpha", one(0.0)}, {"beta", one(high)}});
  return activated(input(), "relu");
}

Value KerasImport::activated_by(const Value& x, const char* key) { return activated(x, word(key, "linear")); }

Value KerasImport::activated(Value x, const std::string& name) {
  if (name == "linear") return x;
  if (is_last() && (name == "softmax" || name == "sigmoid" || name == "log_softmax")) {
    said_.push_back(text(path_, ": its last op, ", name, ", is left out: logits come before it"));
    return x;
  }
  if (name == "relu") {
    // The convolution that this layer is, or that nobody else reads.
    const bool own = x.node > 0 && graph_.node(x.node).name == layer().name;
    const std::int64_t from = layer().inputs.at(0);
    if (x.node > 0 && graph_.node(x.node).op == "conv" && (own || reads_[static_cast<std::size_t>(from)] == 1)) {
      graph_.node(x.node).attributes["relu"] = one(1.0);
      return x;
    }
    return add("relu", x, {}, ".relu");
  }
  if (name == "relu6") return add("clip", x, {{"alpha", one(0.0)}, {"beta", one(6.0)}}, ".relu6");
  if (name == "silu" || name == "swish") return add("silu", x, {}, ".silu");
  if (name == "hard_silu" || name == "hard_swish") return add("hard_swish", x, {}, ".hard_swish");
  if (name == "sigmoid" || name == "tanh" || name == "gelu") return add(name.c_str(), x, {}, ("." + name).c_str());
  if (name == "leaky_relu") return add("leaky_relu", x, {{"alpha", one(0.2)}}, ".leaky_relu");
  if (name == "hard_sigmoid")
    return add("hard_sigmoid", x, {{"alpha", one(model_.before_keras_3 ? 0.2 : 1.0 / 6)}, {"beta", one(0.5)}},
               ".hard_sigmoid");
  refuse(text("its activation ", name.substr(0, 60), " is not known here; build the model without it, or make a store ",
              "of its scores elsewhere (docs/guide/black-box.md)"));
}

// ---- pixels ---------------------------------------------------------------------------------------------------------

/// Layers at the beginning that scale and shift the channels.
bool KerasImport::takes_pixels(std::size_t at) const {
  static const char* const kinds[] = {"Rescaling", "Normalization", "TrueDivide", "Subtract", "Multiply", "Add"};
  const KerasLayer& layer = model_.layers[at];
  if (layer.inputs.size() != 1) return false;
  if (is_augmentation(layer)) return true;
  if (std::ranges::find(kinds, layer.kind) == std::end(kinds)) return false;
  return layer.kind == "Rescaling" || layer.kind == "Normalization" ||
         (layer.numbers.size() == 1 && !layer.number_first);
}

void KerasImport::choose_pixels() {
  image_.channels = model_.channels < 0 ? 3 : model_.channels;
  std::int64_t rows = model_.rows, columns = model_.columns;
  if (rows < 0) rows = columns;
  if (columns < 0) columns = rows;
  if (rows < 0) rows = columns = kDefaultImageSize;
  check(rows == columns && rows >= 1 && rows <= kMaxImageExtent && (image_.channels == 1 || image_.channels == 3),
        path_, ": its input is ", rows, " x ", columns, " x ", image_.channels,
        ", expected square images of one channel or three; build the model for such");
  image_.image_size = rows;
  values_[0] = {0, true, rows, columns, image_.channels};
  for (std::size_t at = 0; at < model_.layers.size(); ++at) {
    const auto value = static_cast<std::int64_t>(pixel_layers_.size());
    if (at != pixel_layers_.size() || !takes_pixels(at) || model_.layers[at].inputs[0] != value ||
        reads_[static_cast<std::size_t>(value)] != 1 || at + 1 == model_.layers.size())
      break;
    pixel_layers_.push_back(at);
    values_[at + 1] = values_[0];
  }
  for (const std::size_t at : pixel_layers_) {
    if (is_augmentation(model_.layers[at])) leave_out(model_.layers[at]);
    normalises_ |= !is_augmentation(model_.layers[at]);
  }
  if (normalises_) return;
  // What keras.applications' networks take stands in no file.
  std::optional<KerasPixels> pixels = keras_pixels(model_.name);
  std::string whose = model_.name;
  for (const std::string& name : model_.within)
    if (!pixels && (pixels = keras_pixels(name))) whose = name;
  if (pixels && image_.channels == 3) {
    metadata_["mean"] = Json(pixels->mean).dump();
    metadata_["std"] = Json(pixels->std).dump();
    said_.push_back(text(path_, ": pixels are taken as keras.applications' ", whose, " takes them: ", pixels->words));
    if (pixels->bgr) {
      const std::int64_t reversed = graph_.add("bgr", "reverse_channels", {0});
      for (std::size_t i = 0; i <= pixel_layers_.size(); ++i) values_[i].node = reversed;
    }
    return;
  }
  metadata_["mean"] = image_.channels == 3 ? "[0,0,0]" : "[0]";
  metadata_["std"] = image_.channels == 3 ? "[1,1,1]" : "[1]";
  said_.push_back(text(path_, ": does not say how it takes pixels: they are given in [0, 1] ",
                       "(`retort import --mean --std` makes a model file that says otherwise)"));
}

// ---- the walk -------------------------------------------------------------------------------------------------------

Value KerasImport::visit() {
  using Visit = std::function<Value(KerasImport&)>;
  static const std::map<std::string, Visit> visits = [] {
    const Visit nothing = [](KerasImport& self) { return self.input(); };
    std::map<std::string, Visit> all = {
        {"Conv2D", [](KerasImport& self) { return self.conv(false); }},
        {"DepthwiseConv2D", [](KerasImport& self) { return self.conv(true); }},
        {"SeparableConv2D", [](KerasImport& self) { return self.separable(); }},
        {"Dense", [](KerasImport& self) { return self.dense(); }},
        {"BatchNormalization", [](KerasImport& self) { return self.batch_norm(); }},
        {"MaxPooling2D", [](KerasImport& self) { return self.pool(true); }},
        {"AveragePooling2D", [](KerasImport& self) { return self.pool(false); }},
        {"GlobalAveragePooling2D", [](KerasImport& self) { return self.global_pool(); }},
        {"ZeroPadding2D", [](KerasImport& self) { return self.pad(); }},
        {"Cropping2D", [](KerasImport& self) { return self.pad(); }},
        {"Flatten", [](KerasImport& self) { return self.reshape({-1}); }},
        {"Add",
         [](KerasImport& self) {
           return self.layer().numbers.empty() ? self.joined("add") : self.scaled(1, self.number());
         }},
        {"Multiply",
         [](KerasImport& self) {
           return self.layer().numbers.empty() ? self.multiply() : self.scaled(self.number(), 0);
         }},
        {"Concatenate", [](KerasImport& self) { return self.concat(); }},
        {"Activation", [](KerasImport& self) { return self.activated_by(self.input(), "activation"); }},
        {"ReLU",
         [](KerasImport& self) {
           return self.relu(self.real("max_value", std::numeric_limits<double>::infinity()),
                            self.real("negative_slope", 0));
         }},
        {"LeakyReLU",
         [](KerasImport& self) {
           return self.relu(std::numeric_limits<double>::infinity(),
                            self.real("negative_slope", self.real("alpha", 0.3)));
         }},
        {"TrueDivide", [](KerasImport& self) { return self.scaled(1 / self.number(), 0); }},
        {"Subtract", [](KerasImport& self) { return self.scaled(1, -self.number()); }},
        {"Softmax", [](KerasImport& self) { return self.activated(self.input(), "softmax"); }},
        {"Rescaling", [](KerasImport& self) { return self.scaled(self.real("scale", 1), self.real("offset", 0)); }},
        {"Reshape",
         [](KerasImport& self) {
           const Json* shape = self.find("target_shape");
           Dims dims;
           for (std::size_t i = 0; shape && shape->is_array() && i < shape->size() && i < 4; ++i)
             dims.push_back((*shape)[i].is_number_integer() ? (*shape)[i].get<std::int64_t>() : 0);
           return self.reshape(dims);
         }},
        {"Dropout", [](KerasImport& self) {
           const double rate = self.real("rate", 0);
           if (!(rate >= 0 && rate < 1)) self.refuse("its rate is not in [0, 1); save the model again");
           return rate > 0 ? self.add("dropout", self.input(), {{"p", {rate}}}) : self.input();
         }}};
    for (const char* kind :
         {"ActivityRegularization", "GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout2D", "Identity"})
      all.emplace(kind, nothing);
    return all;
  }();
  const std::string& kind = layer().kind;
  if (const auto found = visits.find(kind); found != visits.end()) return found->second(*this);
  if (is_augmentation(layer())) {
    leave_out(layer());
    return input();
  }
  refuse(
      "this layer is not known here; build the model without it, or make a store of its scores elsewhere "
      "(docs/guide/black-box.md)");
}

void KerasImport::plan() {
  values_.resize(model_.layers.size() + 1);
  reads_.assign(model_.layers.size() + 1, 0);
  for (const KerasLayer& layer : model_.layers)
    for (const std::int64_t input : layer.inputs) ++reads_[static_cast<std::size_t>(input)];
  choose_pixels();
  for (at_ = pixel_layers_.size(); at_ < model_.layers.size(); ++at_) values_[at_ + 1] = visit();
  at_ = model_.layers.size() - 1;
  const Value& last = values_.back();
  if (last.node != static_cast<std::int64_t>(graph_.spec.nodes.size()))
    refuse("it is not what the network computes last");
  if (last.maps && (last.h != 1 || last.w != 1)) refuse("it gives maps, expected one value a class");
  if (classes_of(graph_.spec) != last.c) refuse("its values are no classes'");
}

Checkpoint KerasImport::fill(const Hdf5File& file) {
  KerasWeights weights(file, path_);
  // y = factor x + shift of pixels x in 0..255, a channel.
  if (normalises_) {
    const auto channels = static_cast<std::size_t>(image_.channels);
    std::vector<double> factor(channels, 1), shift(channels, 0);
    for (const std::size_t at : pixel_layers_) {
      at_ = at;
      const std::string& kind = layer().kind;
      const auto list = [&](const char* key, double otherwise) {
        const Json* found = find(key);
        if (!found || !found->is_array()) return std::vector<double>(channels, real(key, otherwise));
        if (found->size() != channels || !std::ranges::all_of(*found, [](const Json& v) { return v.is_number(); }))
          refuse(text("its ", key, " is not one number a channel"));
        return found->get<std::vector<double>>();
      };
      std::vector<double> times(channels, 1), plus(channels, 0);
      if (kind == "Rescaling") {
        times = list("scale", 1);
        plus = list("offset", 0);
      } else if (kind == "Normalization") {
        check_axis();
        if (truth("invert", false)) refuse("it inverts, which is not known here");
        std::vector<double> mean, variance;
        if (find("mean")) {
          mean = list("mean", 0);
          variance = list("variance", 1);
        } else {
          const std::vector<std::string> variables = {"mean", "variance"};
          const auto doubles = [](const std::vector<float>& v) { return std::vector<double>(v.begin(), v.end()); };
          mean = doubles(weights.take(layer(), variables, 0, {image_.channels}));
          variance = doubles(weights.take(layer(), variables, 1, {image_.channels}));
        }
        for (std::size_t c = 0; c < channels; ++c) {
          times[c] = 1 / std::max(std::sqrt(variance[c]), 1e-7);
          plus[c] = -mean[c] * times[c];
        }
      } else if (!is_augmentation(layer())) {
        const double number = layer().numbers[0];
        for (std::size_t c = 0; c < channels; ++c) {
          if (kind == "TrueDivide") times[c] = 1 / number;
          if (kind == "Multiply") times[c] = number;
          if (kind == "Add") plus[c] = number;
          if (kind == "Subtract") plus[c] = -number;
        }
      }
      for (std::size_t c = 0; c < channels; ++c) {
        factor[c] *= times[c];
        shift[c] = shift[c] * times[c] + plus[c];
      }
    }
    std::vector<double> mean, deviation;
    for (std::size_t c = 0; c < channels; ++c) {
      if (!(factor[c] > 0 && std::isfinite(factor[c]) && std::isfinite(shift[c])))
        refuse("its scale of pixels is not positive and finite");
      deviation.push_back(1 / (255 * factor[c]));
      mean.push_back(-shift[c] * deviation[c]);
    }
    metadata_["mean"] = json_text(Json(mean));
    metadata_["std"] = json_text(Json(deviation));
    said_.push_back(text(path_, ": its first layers normalise pixels: mean ", metadata_["mean"], " and deviation ",
                         metadata_["std"], " of 0..1"));
  }
  for (const Wanted& wanted : wanted_) {
    const std::int64_t count = checked_count(wanted.to);
    std::vector<float> values;
    const std::string where = text(path_, ": ", wanted.tensor);
    if (wanted.variables.empty()) {
      values.assign(static_cast<std::size_t>(count), wanted.fill);
    } else {
      const std::vector<float>& own =
          weights.take(model_.layers[wanted.layer], wanted.variables, wanted.index, wanted.from);
      Array array{wanted.from, false, {}, own};
      if (!wanted.order.empty()) array = transpose(array, wanted.order, where);
      if (wanted.two_classes) values.assign(array.reals.size(), 0.0f);
      values.insert(values.end(), array.reals.begin(), array.reals.end());
    }
    graph_.add_weight(wanted.tensor, wanted.to, values, where);
  }
  weights.check_all_taken(model_.layers);
  return graph_checkpoint(std::move(graph_), image_, std::move(metadata_), std::move(said_), path_);
}

std::string read_text(const std::string& path) {
  const std::vector<std::uint8_t> bytes = read_text_file(path);
  return {bytes.begin(), bytes.end()};
}

/// What metadata.json says; "" where it says nothing.
std::string keras_version(const ZipFile& zip) {
  const ZipFile::Member* member = zip.find("metadata.json");
  if (!member || !member->stored) return "";
  const auto content = zip.content(*member);
  const Json json = try_parse_json({reinterpret_cast<const char*>(content.data()), content.size()}).value_or(Json());
  const bool says = json.is_object() && json.contains("keras_version") && json["keras_version"].is_string();
  return says ? json["keras_version"].get<std::string>() : "";
}

}  // namespace

void check_keras_model(const KerasModel& model, const std::string& path) { KerasImport(model, path).plan(); }

Checkpoint import_keras(const KerasModel& model, const Hdf5File& weights, const std::string& path) {
  KerasImport import(model, path);
  import.plan();
  return import.fill(weights);
}

Checkpoint import_keras(const std::string& path, const std::string& network) {
  const auto with = [&](const std::string& config, const std::string& version, const Hdf5File& weights) {
    check(network.empty(), path, ": holds its network; leave ", network, " out");
    return import_keras(read_keras_config(config, version, path), weights, path);
  };
  const std::vector<std::uint8_t> head = [&] {
    const InputFile file(path);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 8)));
    file.read(0, bytes);
    return bytes;
  }();
  if (!is_hdf5({reinterpret_cast<const char*>(head.data()), head.size()})) {
    const ZipFile zip(path);
    const ZipFile::Member *config = zip.find("config.json"), *weights = zip.find("model.weights.h5");
    check(config && weights, path, ": has no config.json and model.weights.h5, as a .keras has; save the model again");
    const auto json = zip.content(*config);
    return with(std::string(json.begin(), json.end()), keras_version(zip), read_hdf5(zip.content(*weights), path));
  }
  const Hdf5File file = read_hdf5(read_file(path), path);
  if (const auto config = file.texts.find("model_config"); config != file.texts.end()) {
    const auto version = file.texts.find("keras_version");
    return with(config->second, version == file.texts.end() ? "" : version->second, file);
  }
  if (!network.empty()) return import_keras(keras_network(network, file), file, path);
  const std::string beside = (std::filesystem::path(path).parent_path() / "config.json").string();
  check(std::filesystem::exists(beside), path, ": holds weights without their network; put the model's config.json ",
        "beside it, or name one with --model: ", alternatives(keras_networks()));
  Checkpoint result = import_keras(read_keras_config(read_text(beside), "", beside), file, path);
  result.said.insert(result.said.begin(), text(path, ": its network is read from ", beside));
  return result;
}

}  // namespace retort
