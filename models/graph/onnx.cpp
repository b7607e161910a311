#include "models/graph/onnx.h"

#include <algorithm>

#include "engine/core/check.h"
#include "models/graph/network.h"
#include "models/graph/onnx_import.h"

namespace retort {
namespace {

constexpr std::int64_t kDefaultImageSize = 224, kMaxImageExtent = 1 << 15;

/// Ops after the logits: they change no order of the classes.
bool ends_a_classifier(const OnnxNode& node) {
  return node.op == "Softmax" || node.op == "LogSoftmax" || node.op == "Sigmoid";
}

/// TensorProto.DataType
bool is_real(std::int64_t type) { return type == 1 || type == 10 || type == 11 || type == 16; }

bool is_alias(const OnnxNode& node) {
  const auto to = node.attributes.find("to");
  return node.op == "Identity" || node.op == "Dropout" ||
         (node.op == "Cast" && to != node.attributes.end() && is_real(to->second.integer));
}

}  // namespace

std::string OnnxImport::where(const OnnxNode& node) const {
  return text(file_.path, ": node ", node.name.substr(0, 100), " (", node.op.substr(0, 40), ")");
}

void OnnxImport::refuse(const OnnxNode& node, const std::string& reason) const {
  throw Error(text(where(node), ": ", reason));
}

const OnnxOperand& OnnxImport::operand(const OnnxNode& node, std::size_t index) const {
  if (!has(node, index)) refuse(node, text("its input ", index, " is missing; export the model again"));
  const auto found = operands_.find(node.inputs[index]);
  if (found == operands_.end())
    refuse(node, text("it needs ", node.inputs[index].substr(0, 80),
                      ", which no node before it gives (a cycle, or a part is missing); export the model again"));
  return found->second;
}

bool OnnxImport::has(const OnnxNode& node, std::size_t index) const {
  return index < node.inputs.size() && !node.inputs[index].empty();
}

const Array& OnnxImport::constant(const OnnxNode& node, std::size_t index, const char* what) const {
  const OnnxOperand& found = operand(node, index);
  if (!found.constant) refuse(node, text("its ", what, " is computed from the image, expected a constant"));
  return found.array;
}

const OnnxOperand& OnnxImport::data(const OnnxNode& node, std::size_t index) const {
  const OnnxOperand& found = operand(node, index);
  if (found.constant) refuse(node, text("its input ", index, " is a constant, expected what the network computes"));
  if (found.groups > 0) refuse(node, "an op between the two reshapes of a channel shuffle is not known here");
  return found;
}

const OnnxOperand& OnnxImport::image(const OnnxNode& node, std::size_t index) {
  const OnnxOperand& found = data(node, index);
  if (found.is_tokens()) settle(operands_[node.inputs[index]], node.name);
  if (found.dims.size() != 4 || !found.is_image)
    refuse(node, text("its input has ", found.dims.size(), " axes in the file, expected a batch of maps"));
  return found;
}

std::int64_t OnnxImport::integer(const OnnxNode& node, const char* key, std::int64_t otherwise) const {
  const auto found = node.attributes.find(key);
  if (found == node.attributes.end()) return otherwise;
  if (found->second.kind != OnnxAttribute::Kind::integer) refuse(node, text("its ", key, " is no whole number"));
  return found->second.integer;
}

double OnnxImport::real(const OnnxNode& node, const char* key, double otherwise) const {
  const auto found = node.attributes.find(key);
  if (found == node.attributes.end()) return otherwise;
  if (found->second.kind != OnnxAttribute::Kind::real) refuse(node, text("its ", key, " is no number"));
  return found->second.real;
}

std::vector<std::int64_t> OnnxImport::integers(const OnnxNode& node, const char* key, Dims otherwise) const {
  const auto found = node.attributes.find(key);
  if (found == node.attributes.end()) return otherwise;
  if (found->second.kind != OnnxAttribute::Kind::integers) refuse(node, text("its ", key, " is no list"));
  return found->second.integers;
}

std::string OnnxImport::word(const OnnxNode& node, const char* key, const char* otherwise) const {
  const auto found = node.attributes.find(key);
  return found == node.attributes.end() ? otherwise : found->second.text;
}

std::optional<std::vector<std::int64_t>> OnnxImport::list(const OnnxNode& node, const char* key,
                                                          std::size_t index) const {
  if (node.attributes.contains(key)) return integers(node, key, {});
  if (!has(node, index)) return std::nullopt;
  const Array& array = constant(node, index, key);
  if (!array.whole || array.dims.size() > 1) refuse(node, text("its ", key, " are no list of whole numbers"));
  return array.integers;
}

void OnnxImport::set(const OnnxNode& node, OnnxOperand result, std::size_t output) {
  if (output >= node.outputs.size()) refuse(node, "it has no output; export the model again");
  if (!result.constant) ++names_[result.node];
  operands_[node.outputs[output]] = std::move(result);
}

void OnnxImport::check_room(const OnnxNode& node, std::int64_t count) const {
  if (count > room_)
    refuse(node, "what the graph computes of its constants is many times as large as they are; export the model again");
}

void OnnxImport::set_constant(const OnnxNode& node, Array array) {
  check_room(node, array.count());
  room_ -= array.count();
  OnnxOperand result;
  result.constant = true;
  result.dims = array.dims;
  result.array = std::move(array);
  set(node, std::move(result));
}

OnnxOperand OnnxImport::add(const std::string& name, const char* op, const std::vector<const OnnxOperand*>& inputs,
                            const Attributes& attributes) {
  std::vector<std::int64_t> values;
  values.reserve(inputs.size());
  for (const OnnxOperand* input : inputs) values.push_back(input->node);
  OnnxOperand result = *inputs[0];
  result.node = graph_.add(name, op, std::move(values), attributes);
  return result;
}

std::string OnnxImport::layer_name(const OnnxNode& node, std::size_t weight) {
  constexpr std::string_view kWeight = ".weight";
  const std::string& name = node.inputs[weight];
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : node.name;
}

void OnnxImport::add_weight(const std::string& name, const Dims& dims, const std::vector<float>& values,
                            const OnnxNode& node) {
  graph_.add_weight(name, dims, values, where(node));
}

bool OnnxImport::read_once(const OnnxNode& node, std::size_t index) const {
  const std::string& name = node.inputs[index];
  const auto found = reads_.find(name);
  const auto names = names_.find(operand(node, index).node);
  return found != reads_.end() && found->second == 1 && names != names_.end() && names->second == 1 && name != output_;
}

void OnnxImport::take_over(const OnnxNode& node, std::size_t index) {
  const auto found = operands_.find(node.inputs[index]);
  OnnxOperand x = std::move(found->second);
  operands_.erase(found);
  names_[x.node] = 0;
  set(node, std::move(x));
}

bool OnnxImport::adds_to_bias(const OnnxNode& node, std::size_t index, const std::vector<float>& values) {
  const OnnxOperand& x = operand(node, index);
  if (x.node < 1 || !read_once(node, index)) return false;
  const GraphNode& layer = graph_node(x);
  if ((layer.op != "linear" && layer.op != "conv") || layer.number("relu", 0) != 0) return false;
  for (auto& [name, tensor] : graph_.tensors)
    if (name == layer.name + ".bias" && tensor.count() == static_cast<std::int64_t>(values.size())) {
      for (std::size_t i = 0; i < values.size(); ++i) tensor.data<float>()[i] += values[i];
      take_over(node, index);
      return true;
    }
  return false;
}

std::vector<float> in_memory(const OnnxOperand& x, const std::vector<float>& values) {
  if (x.flattened.rank() != 3 || static_cast<std::int64_t>(values.size()) != x.flattened.count()) return values;
  const std::int64_t pixels = x.flattened[0] * x.flattened[1], channels = x.flattened[2];
  std::vector<float> result(values.size());
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel)
    for (std::int64_t c = 0; c < channels; ++c)
      result[static_cast<std::size_t>(pixel * channels + c)] = values[static_cast<std::size_t>(c * pixels + pixel)];
  return result;
}

/// The classes' values before a last softmax, and the nodes that they need.
void OnnxImport::choose_output() {
  for (std::size_t i = 0; i < file_.nodes.size(); ++i)
    for (const std::string& output : file_.nodes[i].outputs)
      if (!output.empty() && !producers_.emplace(output, i).second)
        refuse(file_.nodes[i], text("another node gives ", output.substr(0, 80), ", too; export the model again"));
  check(!file_.outputs.empty(), file_.path, ": has no output, expected logits; export the model again");
  output_ = file_.outputs[0].name;
  if (file_.outputs.size() > 1)
    said_.push_back(text(file_.path, ": has ", file_.outputs.size(), " outputs; the first, ", output_, ", is taken"));
  for (std::size_t steps = 0; steps < file_.nodes.size(); ++steps) {
    const auto found = producers_.find(output_);
    if (found == producers_.end()) break;
    const OnnxNode& node = file_.nodes[found->second];
    if ((!ends_a_classifier(node) && !is_alias(node)) || node.inputs.empty()) break;
    if (ends_a_classifier(node))
      said_.push_back(text(file_.path, ": its last op, ", node.op, ", is left out: logits come before it"));
    output_ = node.inputs[0];
  }
  needed_.assign(file_.nodes.size(), false);
  std::vector<std::string> open = {output_};
  while (!open.empty()) {
    const auto found = producers_.find(open.back());
    open.pop_back();
    if (found == producers_.end() || needed_[found->second]) continue;
    needed_[found->second] = true;
    for (const std::string& input : file_.nodes[found->second].inputs) {
      ++reads_[input];
      if (!input.empty()) open.push_back(input);
    }
  }
}

void OnnxImport::add_input() {
  std::vector<const OnnxValue*> inputs;
  for (const OnnxValue& value : file_.inputs)
    if (!file_.constants.contains(value.name)) inputs.push_back(&value);
  check(inputs.size() == 1, file_.path, ": has ", inputs.size(),
        " inputs, expected one batch of images; export the classifier alone");
  OnnxOperand image;
  image.node = 0;
  image.dims = inputs[0]->dims;
  const auto refuse_shape = [&](const char* what) {
    throw Error(text(file_.path, ": its input ", inputs[0]->name.substr(0, 80), " ", what,
                     ", expected images [n, c, h, w] or [n, h, w, c]; export the classifier alone"));
  };
  if (image.dims.size() != 4) refuse_shape("has another number of axes than four");
  image.channels_last = image.dims[1] != 1 && image.dims[1] != 3 && (image.dims[3] == 1 || image.dims[3] == 3);
  if (image.dims[0] > 0) batch_ = image.dims[0];
  image.dims[0] = batch_;
  std::int64_t &rows = image.dims[image.row_axis()], &columns = image.dims[image.row_axis() + 1];
  if (rows < 0 && columns < 0) rows = columns = kDefaultImageSize;
  if (rows < 0) rows = columns;
  if (columns < 0) columns = rows;
  if (rows != columns) refuse_shape("is not square");
  if (image.channels() != 1 && image.channels() != 3) refuse_shape("has neither one channel nor three");
  if (rows > kMaxImageExtent) refuse_shape("is too large");
  image_size_ = rows;
  channels_ = image.channels();
  operands_[inputs[0]->name] = image;
}

void OnnxImport::visit(const OnnxNode& node) {
  if (!node.domain.empty() && node.domain != "ai.onnx")
    refuse(node, text("an op of the domain ", node.domain.substr(0, 60),
                      " is not known here; export the model with ONNX's own ops"));
  if (node.op == "Shape") return shape_of(node);
  if (fold(node)) return;
  if (is_alias(node)) return set(node, data(node, 0));
  if (node.op == "Cast") refuse(node, "it rounds to whole numbers what the network computes");
  if (tokens(node) || layer(node) || elements(node)) return;
  refuse(node,
         "this op is not known here; export the model without it, or make a store of its scores elsewhere "
         "(docs/guide/black-box.md)");
}

Checkpoint OnnxImport::run() {
  choose_output();
  for (auto& [name, array] : file_.constants) {
    OnnxOperand constant;
    constant.constant = true;
    constant.dims = array.dims;
    constant.array = std::move(array);
    room_ += kSteps * constant.array.count();
    operands_[name] = std::move(constant);
  }
  add_input();
  for (std::size_t i = 0; i < file_.nodes.size(); ++i)
    if (needed_[i]) visit(file_.nodes[i]);
  return finish();
}

Checkpoint OnnxImport::finish() {
  const auto found = operands_.find(output_);
  if (found != operands_.end() && found->second.is_tokens() && found->second.dims.size() == 2 &&
      found->second.axes == std::vector<std::vector<std::size_t>>{{0}, {1}})
    give_tensor(found->second, {found->second.dims[1]}, "logits");
  const bool computed = found != operands_.end() && !found->second.constant && found->second.node > 0;
  check(computed && found->second.node == static_cast<std::int64_t>(graph_.spec.nodes.size()), file_.path,
        ": its output ", output_.substr(0, 80),
        " is not what its last node computes, expected logits; export the model again");
  const OnnxOperand& logits = found->second;
  const bool flat = (logits.dims.size() == 2 && (!logits.is_tokens() || logits.tensor.size() == 1)) ||
                    (logits.dims.size() == 4 && logits.rows() == 1 && logits.columns() == 1);
  check(flat && logits.flattened.rank() == 0, file_.path, ": its output has ", logits.dims.size(),
        " axes, expected [n, classes]; export a classifier");
  const std::int64_t classes = classes_of(graph_.spec);
  check(classes == logits.channels(), file_.path, ": its last layer gives ", classes, " values and its output ",
        logits.channels(), ", expected one each class; export a classifier");

  std::map<std::string, std::string> metadata;
  for (const char* key : {"classes", "mean", "std"})
    if (const auto own = file_.metadata.find(key); own != file_.metadata.end()) metadata[key] = own->second;
  return graph_checkpoint(std::move(graph_), {image_size_, channels_}, std::move(metadata), std::move(said_),
                          file_.path);
}

Checkpoint import_onnx(const std::string& path) { return OnnxImport(path).run(); }

}  // namespace retort
