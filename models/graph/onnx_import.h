// How import_onnx works: nodes are visited in the file's order; each either computes a constant or adds nodes to the
// graph. Not for others to include.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/graph/builder.h"
#include "models/graph/onnx.h"
#include "models/graph/onnx_file.h"

namespace retort {

/// What a name of the file stands for: a constant, or the result of a node of the graph with the extents that the file
/// sees. Memory is NHWC whatever these are.
struct OnnxOperand {
  bool constant = false;
  Array array;
  std::int64_t node = -1;
  std::vector<std::int64_t> dims;
  bool channels_last = false;  ///< rank 4: the file sees [n, h, w, c]
  bool is_image = true;        ///< memory has four axes; else it is [n, features]
  Shape flattened;             ///< [h, w, c] of the image that features are, where the file's order is c, h, w
  std::int64_t groups = 0;     ///< rank 5: the channels apart in groups, [n, groups, c / groups, h, w]
  bool shuffled = false;       ///< rank 5: [n, c / groups, groups, h, w]

  // Tokens: values of any axes, neither images nor features. The fields above but `node` and `dims` do not count then.
  std::vector<std::int64_t> memory;  ///< their extents in memory, the batch first, no other of them 1
  std::vector<std::vector<std::size_t>>
      axes;                          ///< for each of the file's axes those of memory that make it up, in order
  std::vector<std::int64_t> tensor;  ///< the extents after the batch that the node's tensor has

  bool is_tokens() const { return !memory.empty(); }

  std::size_t channel_axis() const { return dims.size() == 4 && channels_last ? 3 : 1; }
  std::size_t row_axis() const { return channels_last ? 1 : 2; }
  std::int64_t channels() const { return dims[channel_axis()]; }
  std::int64_t rows() const { return dims[row_axis()]; }
  std::int64_t columns() const { return dims[row_axis() + 1]; }
};

/// One value a channel or feature of x in the file's order, as they lie in memory.
std::vector<float> in_memory(const OnnxOperand& x, const std::vector<float>& values);

class OnnxImport {
 public:
  explicit OnnxImport(const std::string& path) : file_(read_onnx(path)) {}
  Checkpoint run();

 private:
  using Dims = std::vector<std::int64_t>;
  using Attributes = std::map<std::string, std::vector<double>>;

  // onnx.cpp: the walk.
  void choose_output();
  void add_input();
  void visit(const OnnxNode& node);
  Checkpoint finish();
  [[noreturn]] void refuse(const OnnxNode& node, const std::string& reason) const;
  std::string where(const OnnxNode& node) const;

  // Operands and attributes of a node.
  const OnnxOperand& operand(const OnnxNode& node, std::size_t index) const;
  bool has(const OnnxNode& node, std::size_t index) const;
  const Array& constant(const OnnxNode& node, std::size_t index, const char* what) const;
  /// What the graph computes; a constant is refused.
  const OnnxOperand& data(const OnnxNode& node, std::size_t index) const;
  /// Of four axes.
  const OnnxOperand& image(const OnnxNode& node, std::size_t index);
  std::int64_t integer(const OnnxNode& node, const char* key, std::int64_t otherwise) const;
  double real(const OnnxNode& node, const char* key, double otherwise) const;
  Dims integers(const OnnxNode& node, const char* key, Dims otherwise) const;
  std::string word(const OnnxNode& node, const char* key, const char* otherwise) const;
  /// Axes that are an attribute in older opsets and an input in newer ones.
  std::optional<Dims> list(const OnnxNode& node, const char* key, std::size_t index) const;

  // Results.
  void set(const OnnxNode& node, OnnxOperand result, std::size_t output = 0);
  void set_constant(const OnnxNode& node, Array array);
  /// Refuses the node unless there is room for so many elements more that are computed of constants.
  void check_room(const OnnxNode& node, std::int64_t count) const;
  /// Adds a node of the graph; its result has the dims of `like`.
  OnnxOperand add(const std::string& name, const char* op, const std::vector<const OnnxOperand*>& inputs,
                  const Attributes& attributes = {});
  /// The name of the layer that a weight belongs to.
  std::string layer_name(const OnnxNode& node, std::size_t weight);
  void add_weight(const std::string& name, const Dims& dims, const std::vector<float>& values, const OnnxNode& node);
  GraphNode& graph_node(const OnnxOperand& operand) { return graph_.node(operand.node); }
  /// Whether nobody else reads an operand, under any name, so that the node that computes it may be changed.
  bool read_once(const OnnxNode& node, std::size_t index) const;
  /// The node's result is its operand, which nobody else reads and whose node of the graph does its work, too.
  void take_over(const OnnxNode& node, std::size_t index);
  /// Where `node` adds one value a channel to a layer's own bias: they are added up, and nothing is left to do.
  bool adds_to_bias(const OnnxNode& node, std::size_t index, const std::vector<float>& values);
  OnnxOperand as_features(const OnnxNode& node, const OnnxOperand& x);

  // onnx_constants.cpp
  bool fold(const OnnxNode& node);
  void shape_of(const OnnxNode& node);

  // onnx_layers.cpp
  void convolution(const OnnxNode& node);
  void linear(const OnnxNode& node);
  void batch_norm(const OnnxNode& node);
  void pool(const OnnxNode& node);
  void mean(const OnnxNode& node);
  void pad(const OnnxNode& node);
  bool layer(const OnnxNode& node);

  // onnx_elements.cpp
  bool elements(const OnnxNode& node);
  void activation(const OnnxNode& node);
  void clip(const OnnxNode& node);
  OnnxOperand sum(const OnnxNode& node, const OnnxOperand& a, const OnnxOperand& b);
  void sum_or_product(const OnnxNode& node);
  void with_constant(const OnnxNode& node, const OnnxOperand& x, const Array& c, bool constant_first);
  void reshape(const OnnxNode& node, Dims dims);
  void transpose(const OnnxNode& node);
  void concat(const OnnxNode& node);
  void split(const OnnxNode& node);
  void slice(const OnnxNode& node);
  /// The values of a constant that has one a channel of x, or one for all, in the order of memory; none of another
  /// form.
  std::optional<std::vector<float>> channel_values(const OnnxOperand& x, const Array& c) const;

  // onnx_tokens.cpp
  bool tokens(const OnnxNode& node);
  OnnxOperand as_tokens(const OnnxOperand& x) const;
  /// The same values in a tensor of other extents after the batch.
  void give_tensor(OnnxOperand& x, const Dims& dims, const std::string& name);
  /// Tokens whose axes are those of an image in memory, as an image.
  void settle(OnnxOperand& x, const std::string& name);
  void regroup(const OnnxNode& node, OnnxOperand& x, const Dims& dims) const;
  void token_linear(const OnnxNode& node, const Array& weight, const std::vector<float>& bias);
  void token_sum_or_product(const OnnxNode& node);
  void token_constant(const OnnxNode& node, OnnxOperand x, const Array& c);
  void token_transpose(const OnnxNode& node);
  void token_slices(const OnnxNode& node);
  void token_slice(const OnnxNode& node, const OnnxOperand& x, std::size_t axis, std::int64_t begin, std::int64_t count,
                   bool keeps, std::size_t output);
  void token_concat(const OnnxNode& node);
  void token_mean(const OnnxNode& node);
  void matrix_product(const OnnxNode& node);
  void softmax(const OnnxNode& node);
  void layer_norm(const OnnxNode& node);
  /// Where an operand's last nodes spell out x Phi(x), one node in their place.
  void fuse_gelu(OnnxOperand& y);

  OnnxFile file_;
  GraphBuilder graph_;
  std::map<std::string, OnnxOperand> operands_;
  std::map<std::string, std::size_t> producers_;  ///< of a value, its node
  std::map<std::string, int> reads_;
  std::map<std::int64_t, int> names_;  ///< of a value of the graph, how many of the file's stand for it
  std::vector<bool> needed_;           ///< of the file's nodes, those that the output needs
  std::string output_;
  std::int64_t batch_ = 1, image_size_ = 224, channels_ = 3;
  std::vector<std::string> said_;
  /// Each of the file's constants may be rearranged in so many steps, and shapes and masks come to it.
  static constexpr std::int64_t kSteps = 16;
  std::int64_t room_ = kMaxRepeated;
};

}  // namespace retort
