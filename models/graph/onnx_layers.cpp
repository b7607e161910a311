// Convolutions, linear layers, normalisation, pooling and padding of an ONNX graph as nodes of ours.
#include <algorithm>
#include <limits>

#include "engine/core/check.h"
#include "models/graph/onnx_import.h"
#include "models/graph/windows.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxStep = kMaxWindowStep;

/// Two values an axis, each in [low, 2^12].
bool two_in_range(const std::vector<std::int64_t>& values, std::size_t count, std::int64_t low) {
  return values.size() == count &&
         std::ranges::all_of(values, [&](std::int64_t value) { return value >= low && value <= kMaxStep; });
}

/// "" or why windows cannot be read. `auto_pad` computes the padding from the map's extents.
std::string read_windows(const std::vector<std::int64_t>& kernel, const std::vector<std::int64_t>& strides,
                         const std::vector<std::int64_t>& dilations, const std::vector<std::int64_t>& pads,
                         const std::string& auto_pad, std::int64_t rows, std::int64_t columns, Windows& w) {
  if (!two_in_range(kernel, 2, 1) || !two_in_range(strides, 2, 1) || !two_in_range(dilations, 2, 1) ||
      !two_in_range(pads, 4, 0))
    return "its windows are not two-dimensional, or out of range";
  for (std::size_t i = 0; i < 2; ++i) {
    w.kernel[i] = kernel[i];
    w.stride[i] = strides[i];
    w.dilation[i] = dilations[i];
    w.begin[i] = pads[i];
    w.end[i] = pads[i + 2];
  }
  if (auto_pad == "NOTSET" || auto_pad.empty()) return "";
  if (auto_pad != "VALID" && auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER") return "its auto_pad is not known";
  if (auto_pad == "VALID")
    w.begin[0] = w.begin[1] = w.end[0] = w.end[1] = 0;
  else
    w.pad_same(rows, columns, /*odd_at_end=*/auto_pad == "SAME_UPPER");
  return "";
}

std::vector<double> one(std::int64_t value) { return {static_cast<double>(value)}; }

}  // namespace

OnnxOperand OnnxImport::as_features(const OnnxNode& node, const OnnxOperand& x) {
  if (!x.is_image) return x;
  OnnxOperand flat = add(node.name + ".flatten", "flatten", {&x});
  flat.is_image = false;
  return flat;
}

void OnnxImport::convolution(const OnnxNode& node) {
  const OnnxOperand x = image(node, 0);
  const Array& weight = constant(node, 1, "filter");
  if (x.channels_last) refuse(node, "its input has the channels last, expected [n, c, h, w]");
  if (weight.whole || weight.dims.size() != 4) refuse(node, "its filter has not four axes, expected [out, in, h, w]");
  Windows w;
  const std::string wrong = read_windows({weight.dims[2], weight.dims[3]}, integers(node, "strides", {1, 1}),
                                         integers(node, "dilations", {1, 1}), integers(node, "pads", {0, 0, 0, 0}),
                                         word(node, "auto_pad", "NOTSET"), x.rows(), x.columns(), w);
  if (!wrong.empty()) refuse(node, wrong);
  const std::int64_t groups = integer(node, "group", 1), out = weight.dims[0];
  if (groups < 1 || weight.dims[1] * groups != x.channels() || out % groups != 0)
    refuse(node, text("its filter has ", weight.dims[1], " channels in ", groups, " groups, and its input ",
                      x.channels(), "; export the model again"));
  if (w.out(0, x.rows()) < 1 || w.out(1, x.columns()) < 1) refuse(node, "its filter is larger than the map");
  OnnxOperand input = x;
  if (!w.symmetric()) {
    input = add(node.name + ".pad", "pad", {&x}, w.border(0));
    for (int i = 0; i < 2; ++i) {
      input.dims[2 + static_cast<std::size_t>(i)] += w.begin[i] + w.end[i];
      w.begin[i] = w.end[i] = 0;
    }
  }
  const bool biased = has(node, 2);
  OnnxOperand y = add(layer_name(node, 1), "conv", {&input},
                      {{"in", one(x.channels())},
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
                       {"bias", one(biased)}});
  const std::string name = graph_node(y).name;
  add_weight(name + ".weight", weight.dims, weight.reals, node);
  if (biased) {
    const Array& bias = constant(node, 2, "bias");
    if (bias.dims != Dims{out}) refuse(node, "its bias is not one value a channel; export the model again");
    add_weight(name + ".bias", bias.dims, bias.reals, node);
  }
  y.dims = {x.dims[0], out, w.out(0, input.rows()), w.out(1, input.columns())};
  set(node, std::move(y));
}

void OnnxImport::linear(const OnnxNode& node) {
  const bool gemm = node.op == "Gemm";
  const OnnxOperand& given = data(node, 0);
  const Array& matrix = constant(node, 1, "matrix");
  if (matrix.whole || matrix.dims.size() != 2) refuse(node, "its matrix has not two axes");
  if (gemm &&
      (integer(node, "transA", 0) != 0 || real(node, "alpha", 1) != 1 || (has(node, 2) && real(node, "beta", 1) != 1)))
    refuse(node, "it transposes or scales its operands, expected x W + b");
  // A file's weights are [out, in].
  const Array weight =
      gemm && integer(node, "transB", 0) != 0 ? matrix : retort::transpose(matrix, {1, 0}, where(node));
  const std::int64_t out = weight.dims[0], in = weight.dims[1];
  if (given.dims.back() != in)
    refuse(node,
           text("its matrix takes ", in, " values and its input has ", given.dims.back(), "; export the model again"));
  std::vector<float> bias(static_cast<std::size_t>(out), 0.0f);
  if (gemm && has(node, 2)) {
    const Array& given_bias = constant(node, 2, "bias");
    if (given_bias.whole || (given_bias.count() != out && given_bias.count() != 1))
      refuse(node, "its bias is not one value an output; export the model again");
    for (std::int64_t i = 0; i < out; ++i)
      bias[static_cast<std::size_t>(i)] = given_bias.reals[given_bias.count() == 1 ? 0 : static_cast<std::size_t>(i)];
  }
  if (given.is_tokens()) return token_linear(node, weight, bias);
  OnnxOperand y;
  if (given.dims.size() == 4 && given.channels_last) {
    y = add(layer_name(node, 1), "conv", {&given},
            {{"in", one(in)}, {"out", one(out)}, {"r", one(1)}, {"s", one(1)}, {"bias", one(1)}});
    add_weight(graph_node(y).name + ".weight", {out, in, 1, 1}, weight.reals, node);
  } else {
    if (given.dims.size() != 2) refuse(node, "its input has not two axes, expected [n, features]");
    const OnnxOperand x = as_features(node, given);
    Attributes attributes = {{"in", one(in)}, {"out", one(out)}};
    if (x.flattened.rank() == 3)
      attributes.insert({{"h", one(x.flattened[0])}, {"w", one(x.flattened[1])}, {"c", one(x.flattened[2])}});
    y = add(layer_name(node, 1), "linear", {&x}, attributes);
    y.flattened = {};
    add_weight(graph_node(y).name + ".weight", weight.dims, weight.reals, node);
  }
  add_weight(graph_node(y).name + ".bias", {out}, bias, node);
  y.dims.back() = out;
  set(node, std::move(y));
}

void OnnxImport::batch_norm(const OnnxNode& node) {
  const OnnxOperand& x = data(node, 0);
  if (integer(node, "training_mode", 0) != 0)
    refuse(node, "it is in training mode; export the model after model.eval()");
  if (x.is_tokens()) refuse(node, "its input is no batch of maps or features here");
  const std::int64_t channels = x.channels();
  OnnxOperand y = add(layer_name(node, 1), "batch_norm", {&x},
                      {{"channels", one(channels)}, {"eps", {real(node, "epsilon", 1e-5f)}}});
  const std::string name = graph_node(y).name;
  const char* parts[] = {".weight", ".bias", ".running_mean", ".running_var"};
  for (std::size_t i = 0; i < 4; ++i) {
    const Array& values = constant(node, i + 1, parts[i] + 1);
    if (values.dims != Dims{channels}) refuse(node, "it has not one value a channel; export the model again");
    add_weight(name + parts[i], values.dims, in_memory(y, values.reals), node);
  }
  set(node, std::move(y));
}

void OnnxImport::pool(const OnnxNode& node) {
  const OnnxOperand x = image(node, 0);
  const bool max = node.op == "MaxPool";
  if (x.channels_last) refuse(node, "its input has the channels last, expected [n, c, h, w]");
  if (node.outputs.size() > 1 && !node.outputs[1].empty()) refuse(node, "its indices are asked for");
  Windows w;
  const std::string wrong = read_windows(integers(node, "kernel_shape", {}), integers(node, "strides", {1, 1}),
                                         integers(node, "dilations", {1, 1}), integers(node, "pads", {0, 0, 0, 0}),
                                         word(node, "auto_pad", "NOTSET"), x.rows(), x.columns(), w);
  if (!wrong.empty()) refuse(node, wrong);
  w.ceil = integer(node, "ceil_mode", 0) != 0;
  if (w.dilation[0] != 1 || w.dilation[1] != 1) refuse(node, "its windows are dilated");
  const bool counts_padding = integer(node, "count_include_pad", 0) != 0;
  const std::int64_t rows = w.out(0, x.rows()), columns = w.out(1, x.columns());
  if (rows < 1 || columns < 1) refuse(node, "its window is larger than the map");
  OnnxOperand y;
  if (!max && !w.padded() && w.kernel[0] == x.rows() && w.kernel[1] == x.columns()) {
    y = add(node.name, "global_average_pool", {&x});
  } else {
    if (w.kernel[0] != w.kernel[1] || w.stride[0] != w.stride[1]) refuse(node, "its windows are not square");
    OnnxOperand input = x;
    // Half the window is the most that the op pads itself.
    if (!w.symmetric() || w.begin[0] != w.begin[1] || 2 * w.begin[0] > w.kernel[0]) {
      if (!max && !counts_padding) refuse(node, "its padding differs from side to side and is not counted");
      if (w.ceil) refuse(node, "its padding differs from side to side, and its last windows reach beyond the map");
      input = add(node.name + ".pad", "pad", {&x}, w.border(max ? -std::numeric_limits<double>::infinity() : 0));
      for (int i = 0; i < 2; ++i) w.begin[i] = w.end[i] = 0;
    }
    y = add(node.name, max ? "max_pool" : "average_pool", {&input},
            {{"kernel", one(w.kernel[0])},
             {"stride", one(w.stride[0])},
             {"pad", one(w.begin[0])},
             {"ceil", one(w.ceil)},
             {"count_include_pad", one(counts_padding)}});
  }
  y.dims = {x.dims[0], x.dims[1], rows, columns};
  set(node, std::move(y));
}

void OnnxImport::mean(const OnnxNode& node) {
  const OnnxOperand& x = image(node, 0);
  bool keeps = true;
  if (node.op == "ReduceMean") {
    keeps = integer(node, "keepdims", 1) != 0;
    const std::optional<Dims> axes = list(node, "axes", 1);
    if (!axes) refuse(node, "it has no axes, expected those of rows and columns");
    Dims sorted;
    for (const std::int64_t axis : *axes) sorted.push_back(resolve_axis(axis, 4, where(node)));
    std::ranges::sort(sorted);
    const auto row = static_cast<std::int64_t>(x.row_axis());
    if (sorted != Dims{row, row + 1}) refuse(node, "it averages other axes than rows and columns");
  } else if (x.channels_last) {
    refuse(node, "its input has the channels last, expected [n, c, h, w]");
  }
  OnnxOperand y = add(node.name, "global_average_pool", {&x});
  const std::int64_t channels = x.channels();
  if (keeps) {
    y.dims[y.row_axis()] = y.dims[y.row_axis() + 1] = 1;
  } else {
    y.dims = {x.dims[0], channels};
    y.channels_last = false;
  }
  set(node, std::move(y));
}

void OnnxImport::pad(const OnnxNode& node) {
  const OnnxOperand& x = image(node, 0);
  if (word(node, "mode", "constant") != "constant") refuse(node, "it pads by reflection, expected a constant");
  const std::optional<Dims> given = list(node, "pads", 1);
  if (!given) refuse(node, "it does not say how much to pad");
  Dims axes = {0, 1, 2, 3};
  if (has(node, 3)) {
    axes = constant(node, 3, "axes").integers;
    for (std::int64_t& axis : axes) axis = resolve_axis(axis, 4, where(node));
  }
  if (given->size() != 2 * axes.size()) refuse(node, "it has not two paddings an axis; export the model again");
  std::int64_t begin[4] = {}, end[4] = {};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    begin[axes[i]] = (*given)[i];
    end[axes[i]] = (*given)[i + axes.size()];
  }
  const std::size_t row = x.row_axis(), channel = x.channel_axis();
  if (begin[0] || end[0] || begin[channel] || end[channel]) refuse(node, "it pads the batch or the channels");
  for (std::size_t i = row; i < row + 2; ++i)
    if (std::abs(begin[i]) > kMaxStep || std::abs(end[i]) > kMaxStep) refuse(node, "it pads by more than 4096 pixels");
  double fill = real(node, "value", 0);
  if (has(node, 2)) {
    const Array& value = constant(node, 2, "value");
    if (value.count() != 1) refuse(node, "it pads with more than one value");
    fill = value.at(0);
  }
  OnnxOperand y = x;
  if (begin[row] || end[row] || begin[row + 1] || end[row + 1])
    y = add(node.name, "pad", {&x},
            {{"top", one(begin[row])},
             {"left", one(begin[row + 1])},
             {"bottom", one(end[row])},
             {"right", one(end[row + 1])},
             {"fill", {fill}}});
  for (std::size_t i = row; i < row + 2; ++i) y.dims[i] += begin[i] + end[i];
  if (y.rows() < 1 || y.columns() < 1) refuse(node, "it leaves nothing of the map");
  set(node, std::move(y));
}

bool OnnxImport::layer(const OnnxNode& node) {
  const std::string& op = node.op;
  if (op == "Conv")
    convolution(node);
  else if (op == "LayerNormalization")
    layer_norm(node);
  else if (op == "Softmax")
    softmax(node);
  else if (op == "Gemm" || op == "MatMul")
    linear(node);
  else if (op == "BatchNormalization")
    batch_norm(node);
  else if (op == "MaxPool" || op == "AveragePool")
    pool(node);
  else if (op == "GlobalAveragePool" || op == "ReduceMean")
    mean(node);
  else if (op == "Pad")
    pad(node);
  else
    return false;
  return true;
}

}  // namespace retort
