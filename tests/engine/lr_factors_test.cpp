#include "engine/nn/lr_factors.h"

#include <doctest/doctest.h>

#include "engine/core/check.h"
#include "tests/engine/small_training.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Names as torchvision's ResNets have them: a stem, two blocks of two, a head.
class NamedParts final : public Module {
 public:
  void visit(Visitor& visitor) override {
    for (auto& [name, parameter] : parts) visitor(name, parameter);
  }
  void add(const std::string& name, int rank, bool buffer = false) {
    Parameter parameter;
    parameter.value = rank > 1 ? Tensor::zeros({2, 2}) : Tensor::zeros({2});
    parameter.buffer = buffer;
    parts.emplace_back(name, parameter);
  }
  std::vector<std::pair<std::string, Parameter>> parts;
};

}  // namespace

TEST_CASE("parameter_blocks: by the first part of the name and its number; a norm alone joins the block before") {
  NamedParts net;
  net.add("conv1.weight", 4);
  net.add("bn1.weight", 1);
  net.add("bn1.running_mean", 1, true);
  net.add("layer1.0.conv1.weight", 4);
  net.add("layer1.0.bn1.weight", 1);
  net.add("layer1.1.conv1.weight", 4);
  net.add("layer1.10.conv1.weight", 4);
  net.add("fc.weight", 2);
  net.add("fc.bias", 1);
  const std::vector<std::vector<std::string>> expected = {{"conv1.weight", "bn1.weight"},
                                                          {"layer1.0.conv1.weight", "layer1.0.bn1.weight"},
                                                          {"layer1.1.conv1.weight"},
                                                          {"layer1.10.conv1.weight"},
                                                          {"fc.weight", "fc.bias"}};
  CHECK(parameter_blocks(net) == expected);
}

TEST_CASE("learning_rate_factors: the head's factor, and a decay from block to block") {
  SmallNet net;
  const auto factors = learning_rate_factors(net, {.head = 10, .layer_decay = 0.5});
  CHECK(factors.size() == 8);
  CHECK(factors.at("fc.weight") == 10);
  CHECK(factors.at("fc.bias") == 10);
  CHECK(factors.at("conv2.weight") == 0.5);
  CHECK(factors.at("bn2.bias") == 0.5);
  CHECK(factors.at("conv1.weight") == 0.25);
  CHECK(factors.at("bn1.weight") == 0.25);
  for (const auto& [name, factor] : learning_rate_factors(net, {})) CHECK(factor == 1);
  CHECK_THROWS_AS(learning_rate_factors(net, {.head = -1}), UsageError);
  for (const double decay : {0.0, 1.1, -0.5})
    CHECK_THROWS_AS(learning_rate_factors(net, {.layer_decay = decay}), UsageError);
}
