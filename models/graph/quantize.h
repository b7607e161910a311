// A network's evaluation in 8-bit integers: how its values are stored, from images, and its nodes rewritten.
//
//   PlainGraph graph = plain_graph(model);
//   fold_batch_norm(graph);
//   Calibration calibration(graph);
//   calibration.see_range(images); ...            // all images, once for the ranges
//   calibration.see_values(images); ...           // and once for how values lie in them
//   QuantizedGraph small = quantize_graph(graph, calibration.forms(), {});
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/graph/int8_layers.h"
#include "models/graph/record.h"

namespace retort {

/// Of each value of a graph, the scale and zero point that lose least of it on the images seen.
class Calibration {
 public:
  explicit Calibration(const PlainGraph& graph);
  ~Calibration();
  /// images [n, h, w, c], preprocessed.
  void see_range(const Tensor& images);
  void see_values(const Tensor& images);
  /// Of every value, the image's first. The range is the one of least mean squared error among those from a fifth of
  /// what was seen to all of it, 0 within; throws Error where a value is not finite.
  std::vector<Quantization> forms() const;

 private:
  struct Seen;
  const PlainGraph& graph_;
  std::unique_ptr<Network> network_;
  std::vector<Seen> values_;
};

/// A layer that stays in float, and why.
struct FloatLayer {
  std::string name, why;
};

struct QuantizedGraph {
  PlainGraph graph;
  std::vector<FloatLayer> kept;
  std::vector<std::string> quantized;  ///< the layers in 8 bits
};

/// Convolutions and linear layers become 8-bit ones, with the ReLU and the sum that follow them inside; between them
/// values stay u8, through max pooling, concatenation and sums. A weight's scale is the largest magnitude of its output
/// channel / 127. Stay in float: `keep`, layers with groups, sums that could overflow 32 bits, linear layers of tokens,
/// and all other ops. Batch norm must have been folded.
QuantizedGraph quantize_graph(const PlainGraph& graph, const std::vector<Quantization>& forms,
                              const std::set<std::string>& keep);

/// The parameters of an 8-bit layer from those of a float one as they lie in files: weight [out, ...], and bias [out]
/// or none. `name` is the layer's, `input` the scale of what it reads.
void put_int8_layer(const std::string& name, const Tensor& weight, const Tensor* bias, float input,
                    std::map<std::string, Tensor>& tensors);

/// A network of a graph's nodes and tensors.
std::unique_ptr<Network> network_of(const PlainGraph& graph);

}  // namespace retort
