// Tokens and heads of attention: values whose axes the file takes apart, joins and reorders. Nothing moves for it: an
// operand says which extents of memory make up which of the file's axes, and products of matrices are told where the
// heads lie. What an op would have to move is refused.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/check.h"
#include "models/graph/onnx_import.h"

namespace retort {
namespace {

using Dims = std::vector<std::int64_t>;
using Axis = std::vector<std::size_t>;

constexpr std::int64_t kMaxPositions = 1 << 26;

std::vector<double> one(double value) { return {value}; }
std::vector<double> one(std::int64_t value) { return {static_cast<double>(value)}; }
std::vector<double> numbers(const Dims& dims) { return {dims.begin(), dims.end()}; }

std::int64_t product(const Dims& dims, std::size_t begin, std::size_t end) {
  std::int64_t count = 1;
  for (std::size_t i = begin; i < end; ++i) count *= dims[i];
  return count;
}

/// Extents of 1 but the batch's stand for nothing in memory.
void drop_ones(OnnxOperand& x) {
  for (std::size_t at = x.memory.size(); at-- > 1;) {
    if (x.memory[at] != 1) continue;
    x.memory.erase(x.memory.begin() + static_cast<std::ptrdiff_t>(at));
    for (Axis& axis : x.axes) {
      std::erase(axis, at);
      for (std::size_t& part : axis) part -= part > at;
    }
  }
}

/// Whether parts are neighbours in memory, in order, from `first` on.
bool runs_from(const Axis& axis, std::size_t first) {
  for (std::size_t i = 0; i < axis.size(); ++i)
    if (axis[i] != first + i) return false;
  return true;
}

/// Whether an axis is what is contiguous in memory.
bool is_innermost(const OnnxOperand& x, std::size_t axis) {
  const Axis& parts = x.axes[axis];
  return runs_from(parts, x.memory.size() - parts.size()) && (parts.empty() || parts[0] > 0);
}

/// A batch of one image may stand in any axis. Where a reshape left it in the last it goes to the one before.
void free_last_axis(OnnxOperand& x) {
  const std::size_t last = x.axes.size() - 1;
  if (last == 0 || x.memory[0] != 1 || x.axes[last].empty() || x.axes[last][0] != 0) return;
  x.axes[last].erase(x.axes[last].begin());
  x.axes[last - 1].push_back(0);
}

/// For each axis its extents and strides in memory, neighbours joined: equal where two operands lie alike.
std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> layout(const OnnxOperand& x) {
  std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> axes;
  for (const Axis& axis : x.axes) {
    auto& places = axes.emplace_back();
    for (const std::size_t part : axis) {
      const std::int64_t extent = x.memory[part], stride = product(x.memory, part + 1, x.memory.size());
      if (!places.empty() && places.back().second == extent * stride)
        places.back() = {places.back().first * extent, stride};
      else
        places.emplace_back(extent, stride);
    }
  }
  return axes;
}

Axis joined(const std::vector<Axis>& axes, std::size_t begin, std::size_t end) {
  Axis all;
  for (std::size_t i = begin; i < end; ++i) all.insert(all.end(), axes[i].begin(), axes[i].end());
  return all;
}

bool counts_up(const Array& index) {
  for (std::size_t i = 0; i < index.integers.size(); ++i)
    if (index.integers[i] != static_cast<std::int64_t>(i)) return false;
  return true;
}

/// Matrices of a product: the heads, and which of the two layouts they have.
struct Matrices {
  bool in_channels = false, transposed = false;
  Axis heads;
};

/// None where the last two axes and the heads before them lie in another way.
std::optional<Matrices> matrices_of(const OnnxOperand& x) {
  const std::size_t rank = x.axes.size();
  Axis batch = joined(x.axes, 0, rank - 2);
  if (batch.empty() || batch[0] != 0) return std::nullopt;
  Matrices m;
  m.heads.assign(batch.begin() + 1, batch.end());
  for (const bool transposed : {false, true})
    for (const bool in_channels : {false, true}) {
      const Axis &rows = x.axes[rank - (transposed ? 1 : 2)], &columns = x.axes[rank - (transposed ? 2 : 1)];
      const std::vector<Axis> order =
          in_channels ? std::vector<Axis>{rows, m.heads, columns} : std::vector<Axis>{m.heads, rows, columns};
      const Axis all = joined(order, 0, 3);
      if (all.size() + 1 == x.memory.size() && runs_from(all, 1)) {
        m.transposed = transposed;
        m.in_channels = in_channels;
        return m;
      }
    }
  return std::nullopt;
}

std::int64_t extent_of(const OnnxOperand& x, const Axis& axis) {
  std::int64_t extent = 1;
  for (const std::size_t part : axis) extent *= x.memory[part];
  return extent;
}

}  // namespace

OnnxOperand OnnxImport::as_tokens(const OnnxOperand& x) const {
  if (x.is_tokens()) return x;
  OnnxOperand y;
  y.node = x.node;
  y.dims = x.dims;
  if (x.is_image) {
    y.memory = {x.dims[0], x.rows(), x.columns(), x.channels()};
    y.axes = x.channels_last ? std::vector<Axis>{{0}, {1}, {2}, {3}} : std::vector<Axis>{{0}, {3}, {1}, {2}};
    y.tensor = {x.rows(), x.columns(), x.channels()};
  } else if (x.flattened.rank() == 3) {
    y.memory = {x.dims[0], x.flattened[0], x.flattened[1], x.flattened[2]};
    y.axes = {{0}, {3, 1, 2}};
    y.tensor = {x.flattened.count()};
  } else {
    y.memory = {x.dims[0], x.channels()};
    y.axes.resize(x.dims.size());
    y.axes[0] = {0};
    y.axes[x.channel_axis()] = {1};
    y.tensor = {x.channels()};
  }
  drop_ones(y);
  return y;
}

void OnnxImport::give_tensor(OnnxOperand& x, const Dims& dims, const std::string& name) {
  if (x.tensor == dims) return;
  x.node = graph_.add(name + ".reshape", "reshape", {x.node}, {{"dims", numbers(dims)}});
  x.tensor = dims;
}

void OnnxImport::settle(OnnxOperand& x, const std::string& name) {
  const bool last = x.axes == std::vector<Axis>{{0}, {1}, {2}, {3}},
             first = x.axes == std::vector<Axis>{{0}, {3}, {1}, {2}};
  if (x.memory.size() != 4 || (!last && !first)) return;
  give_tensor(x, {x.memory[1], x.memory[2], x.memory[3]}, name);
  OnnxOperand image;
  image.node = x.node;
  image.dims = x.dims;
  image.channels_last = last;
  x = std::move(image);
}

/// The file's axes in order, cut anew.
void OnnxImport::regroup(const OnnxNode& node, OnnxOperand& x, const Dims& dims) const {
  Axis parts = joined(x.axes, 0, x.axes.size());
  std::vector<Axis> axes;
  std::size_t next = 0;
  for (const std::int64_t dim : dims) {
    Axis axis;
    std::int64_t left = dim;
    while (next < parts.size()) {
      const std::size_t part = parts[next];
      const std::int64_t extent = x.memory[part];
      if (left == 1 && extent != 1) break;
      if (left % extent != 0) {
        // Of this part the axis takes the first `left`, the next axis the rest.
        if (extent % left != 0 || part == 0)
          refuse(node, "it cuts the axes of its input in a way that is not known here");
        x.memory[part] = left;
        x.memory.insert(x.memory.begin() + static_cast<std::ptrdiff_t>(part) + 1, extent / left);
        for (std::size_t& other : parts) other += other > part;
        for (Axis& done : axes)
          for (std::size_t& other : done) other += other > part;
        for (std::size_t& other : axis) other += other > part;
        parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(next) + 1, part + 1);
      }
      axis.push_back(part);
      left /= x.memory[part];
      ++next;
      if (left == 1) break;
    }
    if (left != 1) refuse(node, "it cuts the axes of its input in a way that is not known here");
    axes.push_back(std::move(axis));
  }
  if (next != parts.size()) refuse(node, "it leaves some of its input out; export the model again");
  x.axes = std::move(axes);
  x.dims = dims;
}

void OnnxImport::token_linear(const OnnxNode& node, const Array& weight, const std::vector<float>& bias) {
  OnnxOperand x = data(node, 0);
  const std::int64_t out = weight.dims[0], in = weight.dims[1];
  free_last_axis(x);
  const std::size_t last = x.axes.size() - 1;
  if (!is_innermost(x, last)) refuse(node, "the axis that it multiplies is not contiguous here");
  const std::size_t kept = x.memory.size() - x.axes[last].size();
  const std::int64_t rows = product(x.memory, 1, kept);
  give_tensor(x, kept == 1 ? Dims{in} : Dims{rows, in}, node.name);
  OnnxOperand y = add(layer_name(node, 1), "linear", {&x}, {{"in", one(in)}, {"out", one(out)}});
  add_weight(graph_node(y).name + ".weight", weight.dims, weight.reals, node);
  add_weight(graph_node(y).name + ".bias", {out}, bias, node);
  y.memory.resize(kept);
  y.memory.push_back(out);
  y.axes[last] = {kept};
  y.tensor.back() = out;
  y.dims.back() = out;
  drop_ones(y);
  set(node, std::move(y));
}

void OnnxImport::token_constant(const OnnxNode& node, OnnxOperand x, const Array& c) {
  const std::size_t rank = x.dims.size();
  const auto channels = x.dims.back();
  if (c.whole || c.dims.size() > rank) refuse(node, "its constant has more axes than its input, or whole numbers");
  const std::size_t missing = rank - c.dims.size();
  for (std::size_t i = 0; i < c.dims.size(); ++i)
    if (c.dims[i] != 1 && c.dims[i] != x.dims[i + missing]) refuse(node, "its constant does not fit its input");
  const bool by_channel = c.count() == channels && !c.dims.empty() && c.dims.back() == channels;
  const bool constant_first = operand(node, 0).constant;
  if (node.op == "Sub" && constant_first) refuse(node, "it subtracts what the network computes from a constant");
  if (node.op == "Div" && constant_first) refuse(node, "it divides a constant by what the network computes");
  std::vector<float> values = c.reals;
  if (node.op == "Sub")
    for (float& value : values) value = -value;
  if (node.op == "Div")
    for (float& value : values) value = 1 / value;
  const bool adds = node.op == "Add" || node.op == "Sub";
  if (by_channel && is_innermost(x, rank - 1)) {
    // A matrix product's bias, which exporters add in a node of its own.
    if (adds && adds_to_bias(node, constant_first ? 1 : 0, values)) return;
    if (x.tensor.back() != channels) give_tensor(x, {extent_of(x, joined(x.axes, 1, rank - 1)), channels}, node.name);
    OnnxOperand y = add(node.name, "channel_affine", {&x}, {{"channels", one(channels)}});
    const std::string name = graph_node(y).name;
    add_weight(name + ".weight", {channels}, adds ? std::vector<float>(values.size(), 1) : values, node);
    add_weight(name + ".bias", {channels}, adds ? values : std::vector<float>(values.size(), 0), node);
    return set(node, std::move(y));
  }
  if (!adds) refuse(node, "its constant is neither one number nor one a channel");
  if (missing == 0 && c.dims[0] != 1) refuse(node, "it adds another constant to each image of a batch");
  if (x.axes[0] != Axis{0}) refuse(node, "its input does not have the batch first");
  // One value for each of an image's, in the order of memory.
  const std::int64_t count = product(x.memory, 1, x.memory.size());
  if (count > kMaxPositions) refuse(node, "it adds more than 2^26 values");
  std::vector<float> each(static_cast<std::size_t>(count));
  for (std::int64_t at = 0; at < count; ++at) {
    Dims place(x.memory.size());
    std::int64_t rest = at;
    for (std::size_t part = x.memory.size(); part-- > 1;) {
      place[part] = rest % x.memory[part];
      rest /= x.memory[part];
    }
    std::int64_t from = 0;
    for (std::size_t i = 0; i < c.dims.size(); ++i) {
      std::int64_t along = 0;
      for (const std::size_t part : x.axes[i + missing]) along = along * x.memory[part] + place[part];
      from = from * c.dims[i] + (c.dims[i] == 1 ? 0 : along);
    }
    each[static_cast<std::size_t>(at)] = values[static_cast<std::size_t>(from)];
  }
  const std::int64_t inner = x.tensor.back();
  OnnxOperand y = add(node.name, "position", {&x}, {{"tokens", one(count / inner)}, {"channels", one(inner)}});
  add_weight(graph_node(y).name + ".value", {count / inner, inner}, each, node);
  set(node, std::move(y));
}

void OnnxImport::token_sum_or_product(const OnnxNode& node) {
  const OnnxOperand &a = operand(node, 0), &b = operand(node, 1);
  if (a.constant || b.constant) {
    const OnnxOperand& x = data(node, a.constant ? 1 : 0);
    const Array& c = a.constant ? a.array : b.array;
    if (c.count() == 1) return with_constant(node, x, c, a.constant);
    return token_constant(node, as_tokens(x), c);
  }
  OnnxOperand x = as_tokens(data(node, 0)), y = as_tokens(data(node, 1));
  if (node.op == "Div" || x.dims != y.dims || layout(x) != layout(y))
    refuse(node, "its two operands have other shapes than this op takes here, or lie in another order");
  give_tensor(y, x.tensor, node.name);
  OnnxOperand result = node.op == "Mul" ? add(node.name, "multiply", {&x, &y}) : sum(node, x, y);
  fuse_gelu(result);
  set(node, std::move(result));
}

void OnnxImport::token_transpose(const OnnxNode& node) {
  OnnxOperand x = as_tokens(data(node, 0));
  Dims order;
  for (std::size_t i = x.dims.size(); i-- > 0;) order.push_back(static_cast<std::int64_t>(i));
  order = integers(node, "perm", order);
  const OnnxOperand before = x;
  std::vector<bool> taken(x.dims.size(), false);
  if (order.size() != x.dims.size()) refuse(node, "its order is not that of its axes; export the model again");
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto from = static_cast<std::size_t>(resolve_axis(order[i], x.dims.size(), where(node)));
    if (taken[from]) refuse(node, "its order names an axis twice; export the model again");
    taken[from] = true;
    x.axes[i] = before.axes[from];
    x.dims[i] = before.dims[from];
  }
  set(node, std::move(x));
}

/// `count` of an axis from `begin` on; without `keeps` the axis, of one then, is dropped.
void OnnxImport::token_slice(const OnnxNode& node, const OnnxOperand& x, std::size_t axis, std::int64_t begin,
                             std::int64_t count, bool keeps, std::size_t output) {
  OnnxOperand y = x;
  const Axis parts = x.axes[axis];
  if (count != x.dims[axis]) {
    if (parts.empty() || parts[0] == 0 || !runs_from(parts, parts[0]))
      refuse(node, "it slices the batch, or an axis that is not contiguous here");
    const std::size_t first = parts[0], last = first + parts.size();
    const std::int64_t step = product(x.memory, last, x.memory.size()), before = product(x.memory, 1, first);
    y.tensor = before == 1 ? Dims{count * step} : Dims{before, count * step};
    y.node = graph_.add(text(node.name, output > 0 ? text(".", output) : ""), "slice", {x.node},
                        {{"inner", one(x.dims[axis] * step)},
                         {"begin", one(begin * step)},
                         {"count", one(count * step)},
                         {"dims", numbers(y.tensor)}});
    y.memory.erase(y.memory.begin() + static_cast<std::ptrdiff_t>(first),
                   y.memory.begin() + static_cast<std::ptrdiff_t>(last));
    y.memory.insert(y.memory.begin() + static_cast<std::ptrdiff_t>(first), count);
    for (Axis& other : y.axes)
      for (std::size_t& part : other) part -= part >= last ? parts.size() - 1 : 0;
    y.axes[axis] = {first};
    y.dims[axis] = count;
    drop_ones(y);
  }
  if (!keeps) {
    if (std::ranges::find(y.axes[axis], std::size_t{0}) != y.axes[axis].end()) refuse(node, "it drops the batch");
    y.axes.erase(y.axes.begin() + static_cast<std::ptrdiff_t>(axis));
    y.dims.erase(y.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  set(node, std::move(y), output);
}

/// Split, Slice and Gather by one number.
void OnnxImport::token_slices(const OnnxNode& node) {
  const OnnxOperand x = as_tokens(data(node, 0));
  const auto axis_of = [&](std::int64_t axis) {
    return static_cast<std::size_t>(resolve_axis(axis, x.dims.size(), where(node)));
  };
  if (node.op == "Gather") {
    const std::size_t axis = axis_of(integer(node, "axis", 0));
    const Array& index = constant(node, 1, "index");
    // An exporter's way to write a reshape: every entry, in order.
    if (x.dims.size() == 1 && index.whole && index.count() == x.dims[0] && !index.dims.empty() && counts_up(index)) {
      OnnxOperand y = x;
      regroup(node, y, index.dims);
      return set(node, std::move(y));
    }
    if (!index.whole || index.count() != 1 || index.dims.size() > 1)
      refuse(node, "it gathers several entries, expected one");
    const std::int64_t extent = x.dims[axis], at = index.integers[0] + (index.integers[0] < 0 ? extent : 0);
    if (at < 0 || at >= extent)
      refuse(node, text("it takes entry ", index.integers[0], " of ", extent, "; export the model again"));
    return token_slice(node, x, axis, at, 1, /*keeps=*/index.dims.size() == 1, 0);
  }
  if (node.op == "Split") {
    const std::size_t axis = axis_of(integer(node, "axis", 0));
    Dims sizes = list(node, "split", 1).value_or(Dims{});
    const auto parts = static_cast<std::int64_t>(node.outputs.size());
    if (sizes.empty()) {
      const std::int64_t each = (x.dims[axis] + parts - 1) / parts;
      for (std::int64_t left = x.dims[axis]; left > 0; left -= each) sizes.push_back(std::min(each, left));
    }
    if (sizes.size() != node.outputs.size()) refuse(node, "it has another number of parts than of outputs");
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] < 1 || sizes[i] > x.dims[axis] - begin) refuse(node, "its parts are not its axis");
      if (!node.outputs[i].empty()) token_slice(node, x, axis, begin, sizes[i], /*keeps=*/true, i);
      begin += sizes[i];
    }
    return;
  }
  const std::optional<Dims> starts = list(node, "starts", 1), ends = list(node, "ends", 2);
  const Dims axes = list(node, "axes", 3).value_or(Dims{0}), steps = list(node, "steps", 4).value_or(Dims{1});
  if (!starts || !ends || starts->size() != 1 || ends->size() != 1 || axes.size() != 1 || steps != Dims{1})
    refuse(node, "it slices several axes or by steps");
  const std::size_t axis = axis_of(axes[0]);
  const std::int64_t extent = x.dims[axis];
  const auto bounded = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? std::max(at, -extent) + extent : at, 0, extent);
  };
  const std::int64_t begin = bounded((*starts)[0]), end = bounded((*ends)[0]);
  if (end <= begin) refuse(node, "it leaves nothing");
  token_slice(node, x, axis, begin, end - begin, /*keeps=*/true, 0);
}

/// Constant tokens, the class's, in front of an image's.
void OnnxImport::token_concat(const OnnxNode& node) {
  const std::size_t last = node.inputs.size() - 1;
  OnnxOperand x = as_tokens(data(node, last));
  const std::size_t rank = x.dims.size();
  if (resolve_axis(integer(node, "axis", 0), rank, where(node)) != 1 || rank != 3)
    refuse(node, "it joins other axes than the tokens of [n, tokens, channels]");
  if (x.axes[0] != Axis{0} || !runs_from(x.axes[1], 1) || !runs_from(x.axes[2], 1 + x.axes[1].size()))
    refuse(node, "its tokens do not lie one after another here");
  std::vector<const Array*> parts;
  for (std::size_t i = 0; i < last; ++i) parts.push_back(&constant(node, i, "tokens in front"));
  const Array tokens = parts.size() == 1 ? *parts[0] : retort::concat(parts, 1, where(node));
  const std::int64_t channels = x.dims[2];
  const bool fits = !tokens.whole && tokens.dims.size() == 3 && tokens.dims[0] == batch_ && tokens.dims[2] == channels;
  if (!fits) refuse(node, "its constant tokens are of another form than its input");
  const std::int64_t count = tokens.dims[1];
  std::vector<float> values(tokens.reals.begin(), tokens.reals.begin() + count * channels);
  for (std::size_t i = 0; i < tokens.reals.size(); ++i)
    if (tokens.reals[i] != values[i % values.size()]) refuse(node, "it puts other tokens in front of each image");
  give_tensor(x, {x.dims[1], channels}, node.name);
  OnnxOperand y = add(node.name, "token", {&x}, {{"tokens", one(count)}, {"channels", one(channels)}});
  add_weight(graph_node(y).name + ".value", {count, channels}, values, node);
  y.dims[1] += count;
  y.memory = {y.dims[0], y.dims[1], channels};
  y.axes = {{0}, {1}, {2}};
  y.tensor = {y.dims[1], channels};
  drop_ones(y);
  set(node, std::move(y));
}

/// Over all tokens of an image.
void OnnxImport::token_mean(const OnnxNode& node) {
  OnnxOperand x = as_tokens(data(node, 0));
  const std::optional<Dims> axes = list(node, "axes", 1);
  const bool keeps = integer(node, "keepdims", 1) != 0;
  const bool tokens = x.dims.size() == 3 && axes && axes->size() == 1 && resolve_axis((*axes)[0], 3, where(node)) == 1;
  if (!tokens || x.axes[0] != Axis{0} || !runs_from(x.axes[1], 1) || !is_innermost(x, 2))
    refuse(node, "it averages other axes than the tokens of [n, tokens, channels]");
  give_tensor(x, {1, x.dims[1], x.dims[2]}, node.name);
  OnnxOperand y = add(node.name, "global_average_pool", {&x});
  y.memory = {x.dims[0], x.dims[2]};
  y.axes = keeps ? std::vector<Axis>{{0}, {}, {1}} : std::vector<Axis>{{0}, {1}};
  y.dims = keeps ? Dims{x.dims[0], 1, x.dims[2]} : Dims{x.dims[0], x.dims[2]};
  y.tensor = {1, 1, x.dims[2]};
  drop_ones(y);
  set(node, std::move(y));
}

/// What the network computes times what it computes: attention.
void OnnxImport::matrix_product(const OnnxNode& node) {
  OnnxOperand a = as_tokens(data(node, 0)), b = as_tokens(data(node, 1));
  const std::size_t rank = a.dims.size();
  if (rank < 3 || b.dims.size() != rank || !std::equal(a.dims.begin(), a.dims.end() - 2, b.dims.begin()) ||
      a.dims[rank - 1] != b.dims[rank - 2])
    refuse(node, "its two operands are not as many matrices that fit; export the model again");
  const std::optional<Matrices> left = matrices_of(a), right = matrices_of(b);
  if (!left || !right) refuse(node, "its matrices do not lie one head beside another here");
  const std::int64_t heads = extent_of(a, left->heads), m = a.dims[rank - 2], k = a.dims[rank - 1],
                     n = b.dims[rank - 1];
  if (extent_of(b, right->heads) != heads) refuse(node, "its two operands have heads in another order");
  const auto shaped = [&](OnnxOperand& x, const Matrices& lie, std::int64_t rows, std::int64_t columns) {
    if (lie.transposed) std::swap(rows, columns);
    give_tensor(x, lie.in_channels ? Dims{rows, heads * columns} : Dims{heads, rows, columns}, node.name);
  };
  shaped(a, *left, m, k);
  shaped(b, *right, k, n);
  // What is summed up of values that lie side by side in channels will be read so again.
  const bool in_channels = right->in_channels && !right->transposed;
  OnnxOperand y = add(node.name, "matmul", {&a, &b},
                      {{"heads", one(heads)},
                       {"a_in_channels", one(std::int64_t{left->in_channels})},
                       {"b_in_channels", one(std::int64_t{right->in_channels})},
                       {"y_in_channels", one(std::int64_t{in_channels})},
                       {"transpose_a", one(std::int64_t{left->transposed})},
                       {"transpose_b", one(std::int64_t{right->transposed})}});
  y.dims[rank - 1] = n;
  const std::size_t first_head = in_channels ? 2 : 1, count = left->heads.size();
  Dims extents;
  for (const std::size_t head : left->heads) extents.push_back(a.memory[head]);
  y.memory = {a.memory[0]};
  if (in_channels) y.memory.push_back(m);
  y.memory.insert(y.memory.end(), extents.begin(), extents.end());
  if (!in_channels) y.memory.push_back(m);
  y.memory.push_back(n);
  for (std::size_t i = 0; i + 2 < rank; ++i)
    for (std::size_t& part : y.axes[i])
      if (part > 0)
        part = first_head + static_cast<std::size_t>(std::ranges::find(left->heads, part) - left->heads.begin());
  y.axes[rank - 2] = {in_channels ? 1 : 1 + count};
  y.axes[rank - 1] = {2 + count};
  y.tensor = in_channels ? Dims{m, heads * n} : Dims{heads, m, n};
  drop_ones(y);
  set(node, std::move(y));
}

void OnnxImport::softmax(const OnnxNode& node) {
  OnnxOperand x = as_tokens(data(node, 0));
  const std::size_t rank = x.dims.size();
  free_last_axis(x);
  const std::int64_t axis = integer(node, "axis", file_.opset < 13 ? 1 : -1);
  if (resolve_axis(axis, rank, where(node)) != static_cast<std::int64_t>(rank) - 1 || !is_innermost(x, rank - 1))
    refuse(node, "it goes along another axis than the last, or one that is not contiguous here");
  const std::int64_t classes = x.dims.back(), count = product(x.memory, 1, x.memory.size());
  if (x.tensor.back() != classes) give_tensor(x, {count / classes, classes}, node.name);
  set(node, add(node.name, "softmax", {&x}));
}

void OnnxImport::layer_norm(const OnnxNode& node) {
  const OnnxOperand& given = data(node, 0);
  OnnxOperand x = as_tokens(given);
  const std::size_t rank = x.dims.size();
  free_last_axis(x);
  if (resolve_axis(integer(node, "axis", -1), rank, where(node)) != static_cast<std::int64_t>(rank) - 1 ||
      !is_innermost(x, rank - 1))
    refuse(node, "it normalises other axes than the channels as the last");
  const std::int64_t channels = x.dims.back(), count = product(x.memory, 1, x.memory.size());
  const Array& gamma = constant(node, 1, "scale");
  std::vector<float> beta(static_cast<std::size_t>(channels), 0.0f);
  if (has(node, 2)) {
    const Array& shift = constant(node, 2, "bias");
    if (shift.whole || shift.dims != Dims{channels})
      refuse(node, "it has not one value a channel; export the model again");
    beta = shift.reals;
  }
  if (gamma.whole || gamma.dims != Dims{channels})
    refuse(node, "it has not one value a channel; export the model again");
  for (std::size_t i = 1; i < node.outputs.size(); ++i)
    if (reads_.contains(node.outputs[i])) refuse(node, "its mean or deviation is read by another node");
  if (x.tensor.back() != channels) give_tensor(x, {count / channels, channels}, node.name);
  OnnxOperand y = given.is_tokens() ? x : given;  // an image stays one
  y.node = graph_.add(layer_name(node, 1), "layer_norm", {x.node},
                      {{"channels", one(channels)}, {"eps", one(real(node, "epsilon", 1e-5f))}});
  add_weight(graph_node(y).name + ".weight", {channels}, gamma.reals, node);
  add_weight(graph_node(y).name + ".bias", {channels}, beta, node);
  set(node, std::move(y));
}

void OnnxImport::fuse_gelu(OnnxOperand& y) {
  constexpr std::size_t kNodes = 5;
  const std::vector<GraphNode>& nodes = graph_.spec.nodes;
  if (nodes.size() < kNodes || y.node != static_cast<std::int64_t>(nodes.size())) return;
  const std::int64_t first = y.node - kNodes;  // the value before them
  const auto at = [&](std::int64_t value) -> const GraphNode& { return nodes[static_cast<std::size_t>(value - 1)]; };
  const auto affine = [&](std::int64_t value, double alpha, double beta) {
    return value > first && at(value).op == "affine" && std::abs(at(value).number("alpha") - alpha) < 1e-6 &&
           at(value).number("beta") == beta;
  };
  /// x of 1 + erf(x / sqrt 2), or -1.
  const auto inside = [&](std::int64_t value) -> std::int64_t {
    if (!affine(value, 1, 1)) return -1;
    const std::int64_t erf = at(value).inputs[0];
    if (erf <= first || at(erf).op != "erf" || !affine(at(erf).inputs[0], std::sqrt(0.5), 0)) return -1;
    return at(at(erf).inputs[0]).inputs[0];
  };
  std::int64_t x = -1;
  const std::int64_t outer = affine(y.node, 0.5, 0) ? at(y.node).inputs[0] : y.node;
  if (outer <= first || at(outer).op != "multiply") return;
  for (const int side : {0, 1}) {
    const std::int64_t other = at(outer).inputs[static_cast<std::size_t>(side)],
                       found = inside(at(outer).inputs[static_cast<std::size_t>(1 - side)]);
    if (found < 0 || found > first) continue;
    if (outer != y.node ? other == found : affine(other, 0.5, 0) && at(other).inputs[0] == found) x = found;
  }
  if (x < 0) return;
  // Nobody else may read what goes.
  for (const auto& [name, operand] : operands_)
    if (!operand.constant && operand.node > first && (name == output_ || reads_[name] > 1)) return;
  const std::string name = nodes.back().name;
  graph_.spec.nodes.resize(nodes.size() - kNodes);
  y.node = graph_.add(name + ".gelu", "gelu", {x});
}

bool OnnxImport::tokens(const OnnxNode& node) {
  bool any = false, computed = true;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!has(node, i)) continue;
    any |= operand(node, i).is_tokens();
    computed &= !operand(node, i).constant;
  }
  const std::string& op = node.op;
  if (op == "MatMul" && computed) {
    matrix_product(node);
    return true;
  }
  if (op == "Gather") {
    token_slices(node);
    return true;
  }
  if (!any) return false;
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") {
    token_sum_or_product(node);
  } else if (op == "Transpose") {
    token_transpose(node);
  } else if (op == "Split" || op == "Slice") {
    token_slices(node);
  } else if (op == "Concat") {
    token_concat(node);
  } else if (op == "ReduceMean") {
    token_mean(node);
  } else if (op == "Squeeze" || op == "Unsqueeze") {
    OnnxOperand x = data(node, 0);
    const std::optional<Dims> axes = list(node, "axes", 1);
    if (!axes) refuse(node, "it has no axes");
    const std::size_t rank = x.dims.size() + (op == "Unsqueeze" ? axes->size() : 0);
    Dims sorted;
    for (const std::int64_t axis : *axes) sorted.push_back(resolve_axis(axis, rank, where(node)));
    std::ranges::sort(sorted);
    if (op == "Unsqueeze") {
      for (const std::int64_t axis : sorted) {
        if (axis > static_cast<std::int64_t>(x.dims.size())) refuse(node, "its axes are none; export the model again");
        x.dims.insert(x.dims.begin() + axis, 1);
        x.axes.insert(x.axes.begin() + axis, Axis{});
      }
    } else {
      for (std::size_t i = sorted.size(); i-- > 0;) {
        const std::int64_t axis = sorted[i];
        const bool repeated = i > 0 && sorted[i - 1] == axis;
        if (repeated || !x.axes[static_cast<std::size_t>(axis)].empty())
          refuse(node, "it drops the batch, or an axis of several");
        x.dims.erase(x.dims.begin() + axis);
        x.axes.erase(x.axes.begin() + axis);
      }
    }
    set(node, std::move(x));
  } else {
    return false;
  }
  return true;
}

}  // namespace retort
