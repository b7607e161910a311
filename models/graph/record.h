// Any network as a list of nodes: a graph is one already, and of the others one forward pass is written down. What is
// exported is made of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/graph/spec.h"
#include "models/registry.h"

namespace retort {

/// A network in evaluation mode, for images of one size.
struct PlainGraph {
  GraphSpec spec;
  std::map<std::string, Tensor> tensors;  ///< f32 as they lie in files: those that the nodes read
  Shape image;                            ///< [h, w, c]
  std::vector<Shape> shapes;              ///< of value i for one image, NHWC; 0 is the image

  const Tensor& tensor(const std::string& name) const;
};

/// The nodes of a model's evaluation: what only trains (dropout, an auxiliary head) is left out, and batch norm stays a
/// node. Each parameter keeps its name. Pooling to an adaptive size that the map's own is no multiple of becomes part
/// of the linear layer behind it, whose weight then counts that map. The network moves to the CPU. Throws Error for an
/// op that has no node.
PlainGraph plain_graph(Model& model);

/// Batch norm that a convolution or a linear layer alone feeds becomes part of its weight and bias, in double.
void fold_batch_norm(PlainGraph& graph);

/// The graph takes pixels of 0 to 255 in place of normalised ones: a node in front does what `input` says.
void normalise_inside(PlainGraph& graph, const Preprocessing& input);

}  // namespace retort
