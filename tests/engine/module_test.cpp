#include "engine/nn/module.h"

#include <doctest/doctest.h>

#include "engine/nn/layers.h"

using namespace retort;

namespace {

struct Block : Module {
  explicit Block(Random& random) : conv(2, 2, 1, 1, {}, false, Init::kaiming_uniform_default, random), bn(2) {}
  void visit(Visitor& visitor) override {
    visitor("conv", conv);
    visitor("bn", bn);
  }
  Conv2d conv;
  BatchNorm2d bn;
};

struct Tree : Module {
  explicit Tree(Random& random) : fc(2, 3, Init::kaiming_uniform_default, random) {
    blocks.push_back(std::make_unique<Block>(random));
    blocks.push_back(nullptr);
    blocks.push_back(std::make_unique<Block>(random));
  }
  void visit(Visitor& visitor) override {
    visitor("layer1", blocks);
    visitor("aux", absent);
    visitor("fc", fc);
  }
  std::vector<std::unique_ptr<Block>> blocks;
  std::optional<Block> absent;
  Linear fc;
};

}  // namespace

TEST_CASE("parameters: dotted names in visiting order, absent modules left out") {
  Random random(1);
  Tree tree(random);
  std::vector<std::string> names;
  for (const Parameter* parameter : parameters(tree)) names.push_back(parameter->name);
  CHECK(names == std::vector<std::string>{
                     "layer1.0.conv.weight", "layer1.0.bn.weight", "layer1.0.bn.bias", "layer1.0.bn.running_mean",
                     "layer1.0.bn.running_var", "layer1.0.bn.num_batches_tracked", "layer1.2.conv.weight",
                     "layer1.2.bn.weight", "layer1.2.bn.bias", "layer1.2.bn.running_mean", "layer1.2.bn.running_var",
                     "layer1.2.bn.num_batches_tracked", "fc.weight", "fc.bias"});
}

TEST_CASE("parameters: buffers need no gradient, all else does") {
  Random random(1);
  Tree tree(random);
  for (const Parameter* parameter : parameters(tree)) {
    CAPTURE(parameter->name);
    const bool statistics = parameter->name.find("running") != std::string::npos ||
                            parameter->name.find("num_batches") != std::string::npos;
    CHECK(parameter->buffer == statistics);
    CHECK(parameter->value.requires_grad() != statistics);
  }
}

TEST_CASE("a visitor at the root uses the names as they are") {
  Random random(1);
  Block block(random);
  CHECK(parameters(block)[0]->name == "conv.weight");
}
