// Networks without data: what `summary` and `bench` look at.
#pragma once

#include <string>

#include "models/registry.h"

namespace retort {

/// A fresh network as its paper has it: 1000 classes for ImageNet's, 10 for CIFAR's, and 10 classes on 28 x 28 grey
/// images for an mlp. image_size 0: the network's own. Throws what make_network throws.
Model stock_model(const std::string& architecture, std::int64_t image_size, std::uint64_t seed);

}  // namespace retort
