// Networks without data: what `summary`, `graph` and `bench` look at.
#pragma once

#include <string>
#include <vector>

#include "engine/report/network_graph.h"
#include "models/registry.h"
#include "tools/cli/options.h"

namespace retort {

/// A fresh network as its paper has it: 1000 classes for ImageNet's, 10 for CIFAR's, and 10 classes on 28 x 28 grey
/// images for an mlp. image_size 0: the network's own. Throws what make_network throws.
Model stock_model(const std::string& architecture, std::int64_t image_size, std::uint64_t seed);

/// As stock_model where `model` is an architecture, else from its file. Throws what either throws.
Model stock_or_saved_model(const std::string& model, std::int64_t image_size, const CommonOptions& common);

/// The layers of a forward pass over one image.
std::vector<LayerReport> layers_of(Network& network, const Preprocessing& input);
/// The network as `graph` draws it, from a forward pass that a tape traces.
NetworkOutline outline_of(Model& model);

}  // namespace retort
