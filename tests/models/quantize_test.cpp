// Networks in 8-bit integers: how a graph is rewritten, what it computes, and files that are damaged.
#include "models/graph/rehearsal.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "engine/core/tape.h"
#include "engine/distill/evaluate.h"
#include "engine/io/safetensors.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

namespace {

/// The squared error of logits over their own square: 5e-4 to 5e-3 here. A scale, a zero point or a sum that is wrong
/// anywhere makes it about 1.
constexpr double kMostError = 0.02;

std::vector<double> one(double value) { return {value}; }

Model model_of(const ModelSpec& spec) {
  Model model;
  model.spec = spec;
  model.network = make_network(spec, 3);
  for (Parameter* parameter : parameters(*model.network)) {
    Tensor& value = parameter->value;
    if (value.dtype() != DType::f32 || value.shape().rank() > 1) continue;
    const bool positive = parameter->name.ends_with("running_var") || parameter->name.ends_with(".weight");
    value.copy_from(golden_uniform(parameter->name, value.shape(), positive ? 0.5 : -0.3, positive ? 1.5 : 0.8));
  }
  return model;
}

Model stock(const std::string& architecture, std::int64_t size) {
  ModelSpec spec;
  spec.architecture = architecture;
  spec.preprocessing = default_preprocessing(architecture, size, 3);
  spec.preprocessing.image_size = size;
  spec.classes = {"a", "b", "c", "d", "e"};
  return model_of(spec);
}

Model graph_model(const std::vector<GraphNode>& nodes, std::int64_t size) {
  ModelSpec spec;
  spec.architecture = kGraph;
  spec.graph = to_json({nodes});
  spec.preprocessing = {size, 3, {0.4, 0.4, 0.4}, {0.2, 0.2, 0.2}};
  spec.classes = {"a", "b", "c"};
  return model_of(spec);
}

GraphNode conv(const std::string& name, std::int64_t from, int in, int out, int filter, int groups = 1) {
  return {name,
          "conv",
          {from},
          {{"in", one(in)},
           {"out", one(out)},
           {"r", one(filter)},
           {"s", one(filter)},
           {"pad_h", one(filter / 2)},
           {"pad_w", one(filter / 2)},
           {"groups", one(groups)}}};
}

Tensor images_for(const Model& model, std::int64_t n) {
  const std::int64_t size = model.spec.preprocessing.image_size;
  return golden_uniform("images", {n, size, size, 3}, -2, 2.5);
}

double error_of(Network& wide, Network& small, const Tensor& images) {
  const Tensor a = infer(wide, images), b = infer(small, images);
  double error = 0, square = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    error += std::pow(double{a.data<float>()[i]} - b.data<float>()[i], 2);
    square += std::pow(double{a.data<float>()[i]}, 2);
  }
  return error / square;
}

std::vector<std::string> ops_of(const GraphSpec& spec) {
  std::vector<std::string> ops;
  for (const GraphNode& node : spec.nodes) ops.push_back(node.op);
  return ops;
}

std::int64_t count(const GraphSpec& spec, const std::string& op) { return std::ranges::count(ops_of(spec), op); }

struct Calibrated {
  PlainGraph graph;
  QuantizedGraph small;
};
Calibrated calibrated(Model& model, const std::set<std::string>& keep = {}) {
  Calibrated result{plain_graph(model), {}};
  fold_batch_norm(result.graph);
  Calibration calibration(result.graph);
  const Tensor images = images_for(model, 8);
  calibration.see_range(images);
  calibration.see_values(images);
  result.small = quantize_graph(result.graph, calibration.forms(), keep);
  return result;
}

QuantizedGraph quantized(Model& model, const std::set<std::string>& keep = {}) { return calibrated(model, keep).small; }

/// As `retort quantize` saves it.
void save(const std::string& path, const Model& model, const QuantizedGraph& small) {
  ModelSpec spec = model.spec;
  spec.architecture = kGraph;
  spec.graph = to_json(small.graph.spec);
  save_model(path, *network_of(small.graph), spec);
}

/// Two convolutions side by side, poolings of both kinds, sums, and groups.
Model branches() {
  const GraphNode relu = {"relu", "relu", {1}, {}};
  const std::map<std::string, std::vector<double>> window = {{"kernel", one(3)}, {"stride", one(2)}, {"pad", one(1)}};
  return graph_model(
      {conv("stem", 0, 3, 8, 3),
       relu,
       {"pool", "max_pool", {2}, window},
       conv("left", 3, 8, 12, 1),
       conv("right", 3, 8, 20, 3),
       {"relu2", "relu", {5}, {}},
       {"joined", "concat", {4, 6, 3}, {}},
       {"average", "average_pool", {7}, {{"kernel", one(3)}, {"stride", one(1)}, {"pad", one(1)}}},
       conv("deep", 8, 40, 40, 1),
       {"sum", "add", {9, 7}, {}},
       {"sum2", "add", {10, 7}, {}},
       conv("groups", 11, 40, 40, 3, 4),
       {"sum3", "add", {12, 11}, {}},
       conv("last", 13, 40, 16, 1),
       {"flatten", "flatten", {14}, {}},
       {"head", "linear", {15}, {{"in", one(16 * 16)}, {"out", one(3)}, {"h", one(4)}, {"w", one(4)}, {"c", one(16)}}}},
      8);
}

void says(const std::string& found, const std::string& expected) {
  CAPTURE(found);
  CAPTURE(expected);
  CHECK(found.find(expected) != found.npos);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.span<float>(), b.span<float>());
}

}  // namespace

TEST_CASE("quantize: a ResNet stays in 8 bits from the first convolution to the pooling") {
  Model model = stock("resnet8", 16);
  const QuantizedGraph small = quantized(model);
  const GraphSpec& spec = small.graph.spec;
  CHECK(small.kept.empty());
  CHECK(small.quantized.size() == 10);  // the stem, three blocks of two, two shortcuts, the head
  CHECK(count(spec, "conv_int8") == 9);
  CHECK(count(spec, "linear_int8") == 1);
  CHECK(count(spec, "quantize") == 2);  // the image, and what the mean gave
  CHECK(count(spec, "dequantize") == 0);
  CHECK(count(spec, "add") + count(spec, "add_int8") + count(spec, "relu") == 0);  // all inside convolutions
  const std::unique_ptr<Network> network = network_of(small.graph);
  CHECK(error_of(*model.network, *network, images_for(model, 8)) < kMostError);
}

TEST_CASE("quantize: shortcuts without parameters, a layer kept, an mlp, VGG's map before its linear layer") {
  for (const auto& [architecture, size] : {std::pair{"resnet14_a", 16}, {"mlp:20x10", 8}, {"vgg8", 32}}) {
    const std::string name = architecture;
    CAPTURE(name);
    Model model = stock(name, size);
    const QuantizedGraph small = quantized(model);
    CHECK(error_of(*model.network, *network_of(small.graph), images_for(model, 4)) < kMostError);
    const std::string first = small.quantized.front();
    const QuantizedGraph kept = quantized(model, {first});
    REQUIRE(kept.kept.size() == 1);
    CHECK(kept.kept[0].name == first);
    CHECK(error_of(*model.network, *network_of(kept.graph), images_for(model, 4)) < kMostError);
  }
}

TEST_CASE("quantize: branches, poolings and sums") {
  Model model = branches();
  const QuantizedGraph small = quantized(model);
  REQUIRE(small.kept.size() == 1);
  CHECK(small.kept[0].name == "groups");
  CHECK(small.kept[0].why == "it has groups");
  CHECK(ops_of(small.graph.spec) == std::vector<std::string>{"quantize", "conv_int8", "max_pool_int8", "conv_int8",
                                                             "conv_int8", "concat_int8", "dequantize", "average_pool",
                                                             "quantize", "conv_int8", "add_int8", "dequantize", "conv",
                                                             "add", "quantize", "conv_int8", "linear_int8"});
  CHECK(error_of(*model.network, *network_of(small.graph), images_for(model, 4)) < kMostError);
}

TEST_CASE("quantize: a saved network answers with the same bits, alone and in a batch") {
  const Scratch scratch;
  Model model = stock("resnet8", 16);
  const QuantizedGraph small = quantized(model);
  const std::string path = scratch / "small.safetensors";
  save(path, model, small);
  Model loaded = load_model(path);
  const Tensor images = images_for(model, 5);
  const Tensor expected = infer(*network_of(small.graph), images), found = infer(*loaded.network, images);
  CHECK(same_bits(found, expected));
  CHECK(same_bits(infer(*loaded.network, images.rows(3, 1)), found.rows(3, 1)));
  // As a graph again: what export and summary read.
  const PlainGraph plain = plain_graph(loaded);
  CHECK(ops_of(plain.spec) == ops_of(small.graph.spec));
  CHECK(same_bits(infer(*network_of(plain), images), expected));
  CHECK(error_message([&] { check_trains(loaded.spec, path); }) ==
        path + ": its layers are 8-bit, which have no gradient; give the model that it was made of");
  const std::unique_ptr<Network> fresh = make_network(model.spec, 1);
  says(error_message([&] { load_fitting_weights(*fresh, model.spec, path); }),
       "holds 8-bit integers, from which no training");
}

TEST_CASE("quantize: damaged files are refused in one line") {
  const Scratch scratch;
  Model model = stock("mlp:6", 4);
  const std::string path = scratch / "small.safetensors", other = scratch / "other.safetensors";
  save(path, model, quantized(model));
  const auto refusal = [&](const std::function<void(TensorFile&)>& damage) {
    TensorFile file = read_safetensors(path);
    damage(file);
    write_safetensors(other, file);
    return error_message([&] { load_model(other); });
  };
  const auto tensor = [](TensorFile& file, const std::string& ending) -> Tensor& {
    for (auto& [name, value] : file.tensors)
      if (name.ends_with(ending)) return value;
    throw Error("no tensor ends with " + ending);
  };
  const auto in_graph = [&](const std::string& from, const std::string& to) {
    return refusal([&](TensorFile& file) {
      std::string& graph = file.metadata.at("graph");
      const std::size_t at = graph.find(from);
      REQUIRE(at != graph.npos);
      graph.replace(at, from.size(), to);
    });
  };
  CHECK_NOTHROW(load_model(path));
  says(refusal([&](TensorFile& file) { tensor(file, ".weight_scale").data<float>()[1] = 0; }),
       ".weight_scale holds 0, and scales are above 0: the file is damaged; quantize the model again");
  says(refusal([&](TensorFile& file) { tensor(file, ".weight_scale").data<float>()[1] = NAN; }),
       ".weight_scale holds nan, and a network's numbers are finite");
  says(refusal([&](TensorFile& file) { tensor(file, ".weight_scale").data<float>()[0] = -1; }), "holds -1, and scales");
  says(refusal([&](TensorFile& file) {
         std::erase_if(file.tensors, [](const auto& entry) { return entry.first.ends_with(".weight_scale"); });
       }),
       ".weight_scale of graph is missing");
  says(refusal([&](TensorFile& file) { tensor(file, ".weight_scale") = Tensor::full({3}, 1); }),
       ".weight_scale: found shape [3], expected [6]");
  says(refusal([&](TensorFile& file) {
         tensor(file, ".weight") = Tensor::zeros({6, 48});
       }),
       ".weight: found f32, expected i8");
  const std::string last = "\"op\":\"linear_int8\"";
  says(in_graph("\"scale\":[", "\"scala\":["), "its `scale` is missing, expected one number");
  says(in_graph("\"scale\":[", "\"scale\":[-"), ", expected a positive number; quantize the model again");
  says(in_graph("\"scale\":[", "\"scale\":[1e-80,"), "its `scale` is missing, expected one number");
  says(in_graph("\"zero\":[", "\"zero\":[9"), "expected a whole number from 0 to 255");
  says(in_graph(last, "\"op\":\"linear\""), "it reads float and gets 8-bit integers; quantize the model again");
  says(in_graph("\"op\":\"quantize\"", "\"op\":\"relu\""), "it reads 8-bit integers and gets float");
  says(in_graph("\"op\":\"quantize\"", "\"op\":\"add_int8\""), "1 inputs, expected 2; quantize the model again");
}

TEST_CASE("quantize: values that are not finite") {
  Model model = stock("mlp:6", 4);
  PlainGraph graph = plain_graph(model);
  Calibration calibration(graph);
  Tensor images = Tensor::full({1, 4, 4, 3}, 0.5);
  images.data<float>()[7] = INFINITY;
  says(error_message([&] { calibration.see_range(images); }), "the image: a value is inf, and a network's are finite");
}

TEST_CASE("rehearsal: a network in float answers as the 8-bit one, and gives it back") {
  // Biases are whole units of the sums in 8 bits and not in the rehearsal, so they are 0 here. Then only a value in the
  // middle of two may go to either: one in 32,768 in the first block of resnet8, and what follows of it.
  constexpr double kOfTheRounding = 0.3;
  std::vector<Model> models;
  for (const auto& [architecture, size] :
       {std::pair{"resnet8", 16}, {"resnet14_a", 16}, {"mlp:20x10", 8}, {"vgg8", 32}})
    models.push_back(stock(architecture, size));
  models.push_back(branches());
  for (Model& model : models) {
    CAPTURE(model.spec.architecture);
    for (Parameter* parameter : parameters(*model.network))
      if (parameter->name.ends_with("bias") || parameter->name.ends_with("running_mean"))
        parameter->value.copy_from(Tensor::zeros(parameter->value.shape()));
    const auto [graph, small] = calibrated(model);
    const std::unique_ptr<Network> rehearsal = network_of(rehearsal_of(small.graph, graph)),
                                   network = network_of(small.graph);
    const Tensor images = images_for(model, 8);
    const double apart = error_of(*network, *rehearsal, images), rounding = error_of(*network, *model.network, images);
    CHECK(apart < kOfTheRounding * rounding);
    const PlainGraph again = with_weights_of(small.graph, *rehearsal);
    CHECK(again.tensors.size() == small.graph.tensors.size());
    for (const auto& [name, tensor] : small.graph.tensors) {
      CAPTURE(name);
      const Tensor& found = again.tensor(name);
      REQUIRE(found.bytes() == tensor.bytes());
      CHECK(std::memcmp(found.raw(), tensor.raw(), tensor.bytes()) == 0);
    }
  }
}

TEST_CASE("rehearsal: training moves the weights of the 8-bit network") {
  Model model = stock("resnet8", 16);
  const auto calibration = calibrated(model);
  const PlainGraph& small = calibration.small.graph;
  const std::unique_ptr<Network> rehearsal = network_of(rehearsal_of(small, calibration.graph));
  Tape tape;
  ForwardContext context;
  context.training = true;
  const Tensor logits = rehearsal->forward(images_for(model, 4), context);
  tape.backward(logits, golden_uniform("direction", logits.shape(), -1, 1));
  for (Parameter* parameter : parameters(*rehearsal)) {
    CAPTURE(parameter->name);
    const Tensor gradient = parameter->value.slot()->grad;
    REQUIRE(gradient);
    double square = 0;
    for (const float value : gradient.span<float>()) square += double{value} * value;
    CHECK(square > 0);
  }
}
