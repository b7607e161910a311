// Layers in place of a network's last one.
#include "models/head.h"

#include <doctest/doctest.h>

#include "engine/distill/evaluate.h"
#include "models/registry.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

ModelSpec spec_of(const std::string& head, std::vector<std::string> classes) {
  ModelSpec spec;
  spec.architecture = "mlp:6";
  spec.head = head;
  spec.classes = std::move(classes);
  spec.preprocessing = default_preprocessing(spec.architecture, 2, 1);
  return spec;
}

}  // namespace

TEST_CASE("head: its layers stand behind the body's, and a model file keeps them") {
  const Scratch scratch;
  const ModelSpec spec = spec_of("5,relu,dropout:0.5,4,silu", {"a", "b"});
  const std::unique_ptr<Network> network = make_network(spec, 1);
  std::vector<std::string> names;
  for (const Parameter* parameter : parameters(*network)) names.push_back(parameter->name);
  CHECK(names == std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
                                          "new_head.0.weight", "new_head.0.bias", "new_head.1.weight",
                                          "new_head.1.bias"});
  const Tensor x = Tensor::full({3, 2, 2, 1}, 0.5);
  const Tensor y = infer(*network, x);
  CHECK(y.shape() == Shape{3, 2});
  save_model(scratch / "headed.safetensors", *network, spec);
  const Model again = load_model(scratch / "headed.safetensors");
  CHECK(again.spec.head == spec.head);
  const Tensor same = infer(*again.network, x);
  for (std::int64_t i = 0; i < y.count(); ++i) CHECK(same.data<float>()[i] == y.data<float>()[i]);
}

TEST_CASE("head: a file without it gives the body its weights, and says which layer starts fresh") {
  const Scratch scratch;
  const ModelSpec plain = spec_of("", {"a", "b", "c"}), headed = spec_of("5,relu", {"x", "y"});
  const std::unique_ptr<Network> body = make_network(plain, 1), network = make_network(headed, 2);
  save_model(scratch / "plain.safetensors", *body, plain);
  const LoadReport report = load_weights(*network, headed, scratch / "plain.safetensors", /*replace_head=*/true);
  REQUIRE(report.lines.size() == 1);
  CHECK(report.lines[0].find("its head `layers.1` has 3 classes, not 5: it is replaced") != std::string::npos);
  CHECK(parameters(*network)[0]->value.data<float>()[0] == parameters(*body)[0]->value.data<float>()[0]);
  CHECK(error_message([&] { load_weights(*network, headed, scratch / "plain.safetensors", /*replace_head=*/false); }) !=
        "(nothing thrown)");
}

TEST_CASE("head: what is no head is refused by its word") {
  for (const char* word : {"", "0", "-1", "70000", "1.5", "dropout:1", "dropout:", "dropout:x", "Relu", "5,,relu"})
    CHECK(error_message([&] { parse_head(std::string("4,") + word); }).find("is no layer; give widths") !=
          std::string::npos);
  CHECK(error_message([] { parse_head("relu,5"); }) ==
        "--head: relu,5 begins with no width; give one first, as in 512,relu");
}
