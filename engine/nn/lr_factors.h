// Learning rates that differ by layer: what fine-tuning a network that knows something already is done with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/nn/module.h"

namespace retort {

struct LrFactorSettings {
  double head = 1;         ///< factor of the last block: the classifier
  double layer_decay = 1;  ///< factor from each block to the one before it, in (0, 1] (as in Bao et al., 2106.08254)
};

/// The parameters' names by block, in the order in which the network visits them, from the input to the head. A block
/// is what shares the first part of the name and a number that follows it ("layer3.1", "features.10", "Mixed_5b",
/// "fc"); one without a weight of rank 2 or more, such as a batch norm that stands alone, belongs to the block before.
/// Buffers are left out.
std::vector<std::vector<std::string>> parameter_blocks(Module& module);

/// OptimizerSettings::lr_factors: block i of n gets layer_decay^(n - 1 - i), the last one that times `head`. Throws
/// UsageError for a head's factor below 0 or a decay outside (0, 1].
std::map<std::string, double> learning_rate_factors(Module& module, const LrFactorSettings& settings);

/// OptimizerSettings::first_steps of gradual unfreezing (Howard & Ruder, 1801.06146): the last block trains from the
/// first step on, and each block joins `steps` after the one behind it.
std::map<std::string, std::int64_t> unfreezing_steps(Module& module, std::int64_t steps);

}  // namespace retort
