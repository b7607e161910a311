// Elementwise ops, and ops that only rearrange: activations, sums and products, reshapes, slices, channel shuffles.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "models/graph/onnx_import.h"

namespace retort {
namespace {

std::vector<double> one(double value) { return {value}; }
std::vector<double> one(std::int64_t value) { return {static_cast<double>(value)}; }

/// Extents without those of 1 after the batch: [n, c, 1, 1] and [n, c] are the same values.
std::vector<std::int64_t> squeezed(const std::vector<std::int64_t>& dims) {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < dims.size(); ++i)
    if (i == 0 || dims[i] != 1) result.push_back(dims[i]);
  return result;
}

}  // namespace

void OnnxImport::activation(const OnnxNode& node) {
  const OnnxOperand& x = data(node, 0);
  const std::string& op = node.op;
  Attributes attributes;
  const char* word = "relu";
  if (op == "Relu") {
    if (x.node > 0 && graph_node(x).op == "conv" && read_once(node, 0)) {
      graph_node(x).attributes["relu"] = one(1.0);
      return take_over(node, 0);
    }
  } else if (op == "Sigmoid") {
    word = "sigmoid";
  } else if (op == "HardSigmoid") {
    word = "hard_sigmoid";
    attributes = {{"alpha", one(real(node, "alpha", 0.2f))}, {"beta", one(real(node, "beta", 0.5f))}};
  } else if (op == "HardSwish") {
    word = "hard_swish";
  } else if (op == "LeakyRelu") {
    word = "leaky_relu";
    attributes = {{"alpha", one(real(node, "alpha", 0.01f))}};
  } else if (op == "Gelu") {
    word = this->word(node, "approximate", "none") == "tanh" ? "gelu_tanh" : "gelu";
  } else if (op == "Erf") {
    word = "erf";
  } else {
    word = "tanh";
  }
  set(node, add(node.name, word, {&x}, attributes));
}

void OnnxImport::clip(const OnnxNode& node) {
  const OnnxOperand& x = data(node, 0);
  double low = real(node, "min", -std::numeric_limits<double>::infinity()),
         high = real(node, "max", std::numeric_limits<double>::infinity());
  const auto bound = [&](std::size_t index, double& value) {
    if (!has(node, index)) return;
    const Array& array = constant(node, index, "bound");
    if (array.count() != 1) refuse(node, "its bound is not one number");
    value = array.at(0);
  };
  bound(1, low);
  bound(2, high);
  if (!(low <= high)) refuse(node, text("its bounds ", low, " and ", high, " are in no order"));
  set(node, add(node.name, "clip", {&x}, {{"alpha", one(low)}, {"beta", one(high)}}));
}

std::optional<std::vector<float>> OnnxImport::channel_values(const OnnxOperand& x, const Array& c) const {
  if (c.whole || c.dims.size() > x.dims.size()) return std::nullopt;
  if (c.count() == 1) return c.reals;
  if (c.count() != x.channels()) return std::nullopt;
  const std::size_t missing = x.dims.size() - c.dims.size();
  for (std::size_t i = 0; i < c.dims.size(); ++i)
    if (c.dims[i] != (i + missing == x.channel_axis() ? x.channels() : 1)) return std::nullopt;
  return in_memory(x, c.reals);
}

/// x + c, x - c, c - x, x c, x / c.
void OnnxImport::with_constant(const OnnxNode& node, const OnnxOperand& x, const Array& c, bool constant_first) {
  const std::optional<std::vector<float>> values = channel_values(x, c);
  if (!values) refuse(node, "its constant is neither one number nor one a channel");
  const std::string& op = node.op;
  if (op == "Div" && constant_first) refuse(node, "it divides a constant by what the network computes");
  std::vector<float> factors(values->size(), 1), shifts(values->size(), 0);
  for (std::size_t i = 0; i < values->size(); ++i) {
    const float value = (*values)[i];
    if (op == "Add") shifts[i] = value;
    if (op == "Sub") {
      factors[i] = constant_first ? -1.0f : 1.0f;
      shifts[i] = constant_first ? value : -value;
    }
    if (op == "Mul") factors[i] = value;
    if (op == "Div") factors[i] = 1 / value;
  }
  if (c.count() == 1) {
    OnnxOperand y =
        add(node.name, "affine", {&x}, {{"alpha", one(double{factors[0]})}, {"beta", one(double{shifts[0]})}});
    fuse_gelu(y);
    return set(node, std::move(y));
  }
  // A matrix product's bias, which exporters add in a node of its own.
  if (op == "Add" && adds_to_bias(node, constant_first ? 1 : 0, shifts)) return;
  OnnxOperand y = add(node.name, "channel_affine", {&x}, {{"channels", one(x.channels())}});
  const std::string name = graph_node(y).name;
  add_weight(name + ".weight", {x.channels()}, factors, node);
  add_weight(name + ".bias", {x.channels()}, shifts, node);
  set(node, std::move(y));
}

/// a + b, or a - b.
OnnxOperand OnnxImport::sum(const OnnxNode& node, const OnnxOperand& a, const OnnxOperand& b) {
  if (node.op == "Add") return add(node.name, "add", {&a, &b});
  const OnnxOperand minus = add(node.name + ".minus", "affine", {&b}, {{"alpha", one(-1.0)}, {"beta", one(0.0)}});
  return add(node.name, "add", {&a, &minus});
}

void OnnxImport::sum_or_product(const OnnxNode& node) {
  const OnnxOperand &a = operand(node, 0), &b = operand(node, 1);
  if (a.constant) return with_constant(node, data(node, 1), a.array, true);
  if (b.constant) return with_constant(node, data(node, 0), b.array, false);
  data(node, 0);
  data(node, 1);
  const bool same = a.dims == b.dims && a.channels_last == b.channels_last && a.flattened == b.flattened;
  if ((node.op == "Add" || node.op == "Sub") && same && a.is_image == b.is_image) return set(node, sum(node, a, b));
  if (node.op == "Mul") {
    if (same && a.is_image == b.is_image) {
      OnnxOperand y = add(node.name, "multiply", {&a, &b});
      fuse_gelu(y);
      return set(node, std::move(y));
    }
    for (const auto& [x, s] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
      const bool factors = x->dims.size() == 4 && x->is_image && s->dims.size() == 4 &&
                           x->channels_last == s->channels_last && s->rows() == 1 && s->columns() == 1 &&
                           s->channels() == x->channels() && s->dims[0] == x->dims[0];
      if (factors) return set(node, add(node.name, "multiply", {x, s}));
    }
  }
  refuse(node,
         "its two operands have other shapes than this op takes here: equal ones, or for a product one factor a "
         "channel");
}

void OnnxImport::reshape(const OnnxNode& node, Dims dims) {
  const OnnxOperand& given = operand(node, 0);
  OnnxOperand x = given;
  const Dims before = x.dims;
  const auto result = [&] {
    x.dims = std::move(dims);
    set(node, std::move(x));
  };
  if (dims == before) return result();
  if (x.is_tokens() || dims.empty() || dims[0] != before[0]) {
    if (x.groups > 0) refuse(node, "it changes the batch");
    x = as_tokens(x);
    regroup(node, x, dims);
    return set(node, std::move(x));
  }
  // The two reshapes of a channel shuffle.
  if (x.groups == 0 && before.size() == 4 && !x.channels_last && dims.size() == 5 && dims[3] == before[2] &&
      dims[4] == before[3] && dims[1] >= 1) {
    x.groups = dims[1];
    return result();
  }
  if (x.groups > 0) {
    const bool joins =
        dims.size() == 4 && dims[1] == before[1] * before[2] && dims[2] == before[3] && dims[3] == before[4];
    if (!joins) refuse(node, "it takes groups of channels apart in a way that is not known here");
    const std::int64_t groups = x.groups;
    const bool shuffled = x.shuffled;
    x.groups = 0;
    x.shuffled = false;
    if (shuffled) x = add(node.name, "shuffle", {&x}, {{"groups", one(groups)}});
    return result();
  }
  // Between [n, c, 1, 1], [n, 1, 1, c] and [n, c] nothing moves.
  if (squeezed(dims) == squeezed(before) && squeezed(dims).size() <= 2 && (dims.size() == 2 || dims.size() == 4)) {
    const std::int64_t values = checked_count(std::span<const std::int64_t>(dims).subspan(1));
    if (dims.size() == 4 && dims[1] != values && dims[3] != values)
      refuse(node, "it moves channels into rows or columns");
    x.channels_last = dims.size() == 4 && dims[1] != values;
    return result();
  }
  if (before.size() == 4 && dims.size() == 2 && x.is_image) {
    if (!x.channels_last) x.flattened = {x.rows(), x.columns(), x.channels()};
    x = as_features(node, x);
    x.channels_last = false;
    return result();
  }
  x = as_tokens(x);
  regroup(node, x, dims);
  set(node, std::move(x));
}

void OnnxImport::transpose(const OnnxNode& node) {
  OnnxOperand x = operand(node, 0);
  const Dims order = integers(node, "perm", {});
  const Dims before = x.dims;
  if (x.groups > 0 && !x.shuffled && order == Dims{0, 2, 1, 3, 4}) {
    x.dims = {before[0], before[2], before[1], before[3], before[4]};
    x.shuffled = true;
  } else if (x.groups == 0 && before.size() == 4 && !x.channels_last && order == Dims{0, 2, 3, 1}) {
    x.dims = {before[0], before[2], before[3], before[1]};
    x.channels_last = true;
  } else if (x.groups == 0 && before.size() == 4 && x.channels_last && order == Dims{0, 3, 1, 2}) {
    x.dims = {before[0], before[3], before[1], before[2]};
    x.channels_last = false;
  } else {
    return token_transpose(node);
  }
  set(node, std::move(x));
}

void OnnxImport::concat(const OnnxNode& node) {
  std::vector<OnnxOperand> parts;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) parts.push_back(data(node, i));
  const OnnxOperand& first = parts[0];
  const std::int64_t axis = resolve_axis(integer(node, "axis", 0), first.dims.size(), where(node));
  if (axis != static_cast<std::int64_t>(first.channel_axis())) refuse(node, "it joins other axes than the channels");
  std::int64_t channels = 0;
  std::vector<const OnnxOperand*> pointers;
  for (const OnnxOperand& part : parts) {
    Dims dims = part.dims;
    if (dims.size() != first.dims.size() || part.channels_last != first.channels_last ||
        part.is_image != first.is_image || part.flattened.rank() > 0)
      refuse(node, "its parts are of different form");
    dims[part.channel_axis()] = first.channels();
    if (dims != first.dims) refuse(node, "its parts have other rows or columns; export the model again");
    channels += part.channels();
    pointers.push_back(&part);
  }
  OnnxOperand y = add(node.name, "concat", pointers);
  y.dims[y.channel_axis()] = channels;
  set(node, std::move(y));
}

void OnnxImport::split(const OnnxNode& node) {
  const OnnxOperand x = data(node, 0);
  const std::int64_t axis = resolve_axis(integer(node, "axis", 0), x.dims.size(), where(node));
  if (axis != static_cast<std::int64_t>(x.channel_axis()) || x.flattened.rank() > 0)
    refuse(node, "it splits other axes than the channels");
  Dims sizes = list(node, "split", 1).value_or(Dims{});
  if (sizes.empty()) {
    const auto parts = static_cast<std::int64_t>(node.outputs.size());
    const std::int64_t each = (x.channels() + parts - 1) / parts;
    for (std::int64_t left = x.channels(); left > 0; left -= each) sizes.push_back(std::min(each, left));
  }
  std::int64_t begin = 0;
  if (sizes.size() != node.outputs.size()) refuse(node, "it has another number of parts than of outputs");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 1 || sizes[i] > x.channels() - begin) refuse(node, "its parts are not its channels");
    OnnxOperand y = add(text(node.name, ".", i), "channels", {&x}, {{"begin", one(begin)}, {"count", one(sizes[i])}});
    y.dims[y.channel_axis()] = sizes[i];
    begin += sizes[i];
    if (!node.outputs[i].empty()) set(node, std::move(y), i);
  }
}

void OnnxImport::slice(const OnnxNode& node) {
  const OnnxOperand x = data(node, 0);
  const std::optional<Dims> starts = list(node, "starts", 1), ends = list(node, "ends", 2);
  Dims axes = list(node, "axes", 3).value_or(Dims{}), steps = list(node, "steps", 4).value_or(Dims{1});
  if (axes.empty()) axes = {0};
  if (!starts || !ends || starts->size() != 1 || ends->size() != 1 || axes.size() != 1 || steps != Dims{1})
    refuse(node, "it slices several axes or by steps");
  const std::int64_t axis = resolve_axis(axes[0], x.dims.size(), where(node)),
                     extent = x.dims[static_cast<std::size_t>(axis)];
  const auto bounded = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? std::max(at, -extent) + extent : at, 0, extent);
  };
  const std::int64_t begin = bounded((*starts)[0]), end = bounded((*ends)[0]);
  if (end <= begin) refuse(node, "it leaves nothing");
  OnnxOperand y = x;
  if (axis == static_cast<std::int64_t>(x.channel_axis()) && x.flattened.rank() == 0) {
    y = add(node.name, "channels", {&x}, {{"begin", one(begin)}, {"count", one(end - begin)}});
  } else if (x.dims.size() == 4 && x.is_image && axis > 0) {
    const bool rows = axis == static_cast<std::int64_t>(x.row_axis());
    y = add(node.name, "pad", {&x},
            {{rows ? "top" : "left", one(-begin)}, {rows ? "bottom" : "right", one(end - extent)}});
  } else {
    refuse(node, "it slices the batch, or features of an image");
  }
  y.dims[static_cast<std::size_t>(axis)] = end - begin;
  set(node, std::move(y));
}

bool OnnxImport::elements(const OnnxNode& node) {
  static const std::set<std::string> activations = {"Relu",      "Sigmoid", "HardSigmoid", "HardSwish",
                                                    "LeakyRelu", "Gelu",    "Erf",         "Tanh"};
  const std::string& op = node.op;
  if (activations.contains(op)) {
    activation(node);
  } else if (op == "Clip") {
    clip(node);
  } else if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") {
    sum_or_product(node);
  } else if (op == "Reshape") {
    const Array& shape = constant(node, 1, "shape");
    reshape(node,
            resolve_shape(operand(node, 0).dims, shape.integers, integer(node, "allowzero", 0) == 0, where(node)));
  } else if (op == "Flatten") {
    const OnnxOperand& x = data(node, 0);
    if (resolve_axis(integer(node, "axis", 1), x.dims.size() + 1, where(node)) != 1) refuse(node, "it joins the batch");
    reshape(node, {x.dims[0], checked_count(std::span<const std::int64_t>(x.dims).subspan(1))});
  } else if (op == "Squeeze" || op == "Unsqueeze") {
    const OnnxOperand& x = data(node, 0);
    const std::optional<Dims> axes = list(node, "axes", 1);
    if (!axes) refuse(node, "it has no axes");
    Dims dims = x.dims;
    const std::size_t rank = dims.size() + (op == "Unsqueeze" ? axes->size() : 0);
    Dims sorted;
    for (const std::int64_t axis : *axes) sorted.push_back(resolve_axis(axis, rank, where(node)));
    std::ranges::sort(sorted);
    if (op == "Unsqueeze") {
      for (const std::int64_t axis : sorted) dims.insert(dims.begin() + std::min<std::int64_t>(axis, dims.size()), 1);
    } else {
      for (std::size_t i = sorted.size(); i-- > 0;) {
        if (dims.at(static_cast<std::size_t>(sorted[i])) != 1) refuse(node, "it drops an axis of several");
        dims.erase(dims.begin() + sorted[i]);
      }
    }
    reshape(node, std::move(dims));
  } else if (op == "Transpose") {
    transpose(node);
  } else if (op == "Concat") {
    concat(node);
  } else if (op == "Split") {
    split(node);
  } else if (op == "Slice") {
    slice(node);
  } else {
    return false;
  }
  return true;
}

}  // namespace retort
