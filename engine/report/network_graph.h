// A network as a picture: its blocks from the image down to the logits, and what is put on top of them.
#pragma once

#include <string>
#include <vector>

#include "engine/core/tape.h"
#include "engine/nn/module.h"

namespace retort {

/// A box of the picture: a layer with the ops that follow on it alone, or an op where branches meet.
struct OutlineNode {
  std::string name, detail;            ///< "layer1.0.conv2", "Conv2d to 32 x 32 x 16, batch norm"; "add 1"
  std::vector<std::ptrdiff_t> inputs;  ///< earlier nodes; -1: the image
};

struct NetworkOutline {
  std::string name, input;          ///< "resnet20", "32 x 32 x 3"
  std::vector<LayerReport> layers;  ///< in the order of a forward pass (ForwardContext::report)
  std::int64_t classes = 0;
  std::vector<OutlineNode> nodes;  ///< in the same order; the last gives the logits, or the image
};

/// What a forward pass on `image`, which required a gradient, left on a tape that kept its trace, the layers reported
/// under that tape.
std::vector<OutlineNode> outline_nodes(const std::vector<TracedOp>& trace, const std::vector<LayerReport>& layers,
                                       const Tensor& image);

/// A layer's box, read by and reading what `inputs` says.
OutlineNode layer_node(const LayerReport& layer, std::vector<std::ptrdiff_t> inputs);

/// How many nodes read more than one other, and how many results are read by more than one.
struct Branches {
  std::size_t joins = 0, forks = 0;
};
Branches branches_of(const std::vector<OutlineNode>& nodes);

/// What is put on top of the logits: one line of text a box of the picture's second half, in its order.
std::vector<std::string> head_lines(std::int64_t classes, double temperature, double lambda);

/// One block of a network: the layers whose names begin alike ("layer1.0", "Mixed_5b", "conv1").
struct Block {
  std::string name, detail;  ///< "7 convolutions, 35 x 35 x 256"
};
std::vector<Block> blocks_of(const std::vector<LayerReport>& layers);

/// Two pictures in one, side by side: the network as it predicts, logits through a softmax; and with the head that it
/// is distilled by: its logits and the teacher's through softmaxes at T, beside the labels, into one loss.
std::string network_graph(const NetworkOutline& outline, double temperature, double lambda);

}  // namespace retort
