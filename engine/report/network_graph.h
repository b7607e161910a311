// A network as a picture: its blocks from the image down to the logits, and what is put on top of them.
#pragma once

#include <string>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

struct NetworkOutline {
  std::string name, input;          ///< "resnet20", "32 x 32 x 3"
  std::vector<LayerReport> layers;  ///< in the order of a forward pass (ForwardContext::report)
  std::int64_t classes = 0;
};

/// One block of a network: the layers whose names begin alike ("layer1.0", "Mixed_5b", "conv1").
struct Block {
  std::string name, detail;  ///< "7 convolutions, 35 x 35 x 256"
};
std::vector<Block> blocks_of(const std::vector<LayerReport>& layers);

/// Two pictures in one, side by side: the network as it predicts, logits through a softmax; and with the head that it
/// is distilled by: its logits and the teacher's through softmaxes at T, beside the labels, into one loss.
std::string network_graph(const NetworkOutline& outline, double temperature, double lambda);

}  // namespace retort
