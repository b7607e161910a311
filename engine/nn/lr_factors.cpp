#include "engine/nn/lr_factors.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace retort {
namespace {

/// "layer3.1.conv2.weight" -> "layer3.1", "fc.weight" -> "fc"
std::string block_of(const std::string& name) {
  const std::size_t first = name.find('.');
  if (first == std::string::npos) return name;
  const std::size_t second = std::min(name.find('.', first + 1), name.size());
  const std::string part = name.substr(first + 1, second - first - 1);
  const bool number = !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
  return name.substr(0, number ? second : first);
}

}  // namespace

std::vector<std::vector<std::string>> parameter_blocks(Module& module) {
  struct Block {
    std::string name;
    bool has_matrix = false;
    std::vector<std::string> parameters;
  };
  std::vector<Block> found;
  for (const Parameter* parameter : parameters(module)) {
    if (parameter->buffer) continue;
    std::string name = block_of(parameter->name);
    if (found.empty() || found.back().name != name) found.push_back({std::move(name), false, {}});
    found.back().has_matrix |= parameter->value.shape().rank() > 1;
    found.back().parameters.push_back(parameter->name);
  }
  std::vector<std::vector<std::string>> blocks;
  for (const Block& block : found) {
    if (block.has_matrix || blocks.empty())
      blocks.push_back(block.parameters);
    else
      blocks.back().insert(blocks.back().end(), block.parameters.begin(), block.parameters.end());
  }
  return blocks;
}

std::map<std::string, double> learning_rate_factors(Module& module, const LrFactorSettings& settings) {
  if (!(settings.head >= 0) || !std::isfinite(settings.head))
    throw UsageError(text("--head-lr: a factor of ", settings.head, "; give one from 0"));
  if (!(settings.layer_decay > 0 && settings.layer_decay <= 1))
    throw UsageError(text("--layer-decay: ", settings.layer_decay, " is not in (0, 1]; give one like 0.8"));
  std::map<std::string, double> factors;
  const std::vector<std::vector<std::string>> blocks = parameter_blocks(module);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto below_head = static_cast<double>(blocks.size() - 1 - i);
    const double factor = std::pow(settings.layer_decay, below_head) * (below_head == 0 ? settings.head : 1);
    for (const std::string& name : blocks[i]) factors[name] = factor;
  }
  return factors;
}

std::map<std::string, std::int64_t> unfreezing_steps(Module& module, std::int64_t steps) {
  std::map<std::string, std::int64_t> first;
  const std::vector<std::vector<std::string>> blocks = parameter_blocks(module);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    for (const std::string& name : blocks[i])
      first[name] = 1 + static_cast<std::int64_t>(blocks.size() - 1 - i) * steps;
  return first;
}

}  // namespace retort
