// Networks as .onnx files: what was written is read again, and computes the same.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/distill/evaluate.h"
#include "models/graph/c_export.h"
#include "models/graph/network.h"
#include "models/graph/onnx_export.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Of the largest logit. Sums of some thousand products, in two orders where batch norm is folded.
constexpr double kLimit = 2e-5;

/// No weight is 0 or 1 for want of training, batch norm's statistics least of all.
void settle(Network& network) {
  for (Parameter* parameter : parameters(network)) {
    Tensor& value = parameter->value;
    if (value.dtype() != DType::f32 || value.shape().rank() > 2) continue;
    const bool var = parameter->name.ends_with("running_var");
    const bool matrix = value.shape().rank() == 2 && !parameter->name.ends_with(".value");
    if (!matrix) value.copy_from(golden_uniform(parameter->name, value.shape(), var ? 0.5 : -0.3, var ? 1.5 : 0.8));
  }
}

Model model_of(const ModelSpec& spec) {
  Model model;
  model.spec = spec;
  model.network = make_network(spec, 3);
  settle(*model.network);
  return model;
}

Model stock(const std::string& architecture, std::int64_t size, const std::string& head = "") {
  ModelSpec spec;
  spec.architecture = architecture;
  spec.preprocessing = default_preprocessing(architecture, size, 3);
  spec.preprocessing.image_size = size;
  spec.classes = {"a", "b", "c", "d", "e"};
  spec.head = head;
  return model_of(spec);
}

Model graph_model(const GraphSpec& graph, std::int64_t size, std::int64_t channels) {
  ModelSpec spec;
  spec.architecture = kGraph;
  spec.graph = to_json(graph);
  spec.preprocessing = {size, channels, std::vector<double>(static_cast<std::size_t>(channels), 0.4),
                        std::vector<double>(static_cast<std::size_t>(channels), 0.2)};
  spec.classes = {"a", "b", "c"};
  return model_of(spec);
}

std::map<std::string, std::string> metadata_of(const ModelSpec& spec) {
  return {{"classes", nlohmann::json(spec.classes).dump()},
          {"mean", nlohmann::json(spec.preprocessing.mean).dump()},
          {"std", nlohmann::json(spec.preprocessing.std).dump()}};
}

double distance(const Tensor& found, const Tensor& expected) {
  REQUIRE(found.shape() == expected.shape());
  double largest = 0, furthest = 0;
  for (std::int64_t i = 0; i < found.count(); ++i) {
    const double wanted = expected.data<float>()[i];
    largest = std::max(largest, std::abs(wanted));
    furthest = std::max(furthest, std::abs(found.data<float>()[i] - wanted));
  }
  REQUIRE(largest > 0);
  return furthest / largest;
}

/// What a model gives, and what its file gives, plain and with batch norm folded; and the file that the file's own
/// network is written to.
void check_exports(Model& model) {
  const Scratch scratch;
  const Preprocessing& input = model.spec.preprocessing;
  const Tensor x = golden_uniform("x", {3, input.image_size, input.image_size, input.channels}, -2, 2);
  const Tensor expected = infer(*model.network, x);
  PlainGraph graph = plain_graph(model);
  for (const bool folded : {false, true}) {
    CAPTURE(folded);
    if (folded) fold_batch_norm(graph);
    const std::string file = scratch / "net.onnx", again = scratch / "again.onnx";
    write_onnx(file, graph, {"test", metadata_of(model.spec)});
    Model read = load_model(file);
    CHECK(read.spec.classes == model.spec.classes);
    CHECK(read.spec.preprocessing == input);
    CHECK(distance(infer(*read.network, x), expected) <= kLimit);
    write_onnx(again, plain_graph(read), {"test", metadata_of(read.spec)});
    CHECK(distance(infer(*load_model(again).network, x), expected) <= kLimit);
  }
}

}  // namespace

TEST_CASE("export: every family of networks is read back from its ONNX file") {
  const std::pair<const char*, std::int64_t> all[] = {
      {"mlp:", 4},       {"mlp:20x10", 8}, {"resnet8", 32}, {"resnet20", 32}, {"resnet14_a", 31},
      {"resnet8x4", 32}, {"vgg8", 32},     {"vgg8", 64},    {"resnet18", 64}, {"inception_v3", 79}};
  for (const auto& network : all) {
    CAPTURE(network.first);
    Model model = stock(network.first, network.second);
    check_exports(model);
  }
}

TEST_CASE("export: adaptive pooling to more than the map, to its own size and to a part of it") {
  if (kSanitized) return;
  for (const std::int64_t size : {64, 224, 448}) {  // maps of 2, 7 and 14, to 7
    CAPTURE(size);
    Model model = stock("vgg11", size);
    const Scratch scratch;
    const Tensor x = golden_uniform("x", {1, size, size, 3}, -2, 2);
    const Tensor expected = infer(*model.network, x);
    write_onnx(scratch / "net.onnx", plain_graph(model), {"test", metadata_of(model.spec)});
    model = {};
    CHECK(distance(infer(*load_model(scratch / "net.onnx").network, x), expected) <= kLimit);
  }
}

TEST_CASE("export: a head in place of the last layer, behind a class and behind a graph") {
  Model model = stock("resnet8", 32, "12,silu,dropout:0.3,7,relu");
  check_exports(model);
  GraphSpec graph;
  graph.nodes = {{"flat", "flatten", {0}, {}}, {"fc", "linear", {1}, {{"in", {48}}, {"out", {6}}}}};
  ModelSpec spec = graph_model(graph, 4, 3).spec;
  spec.head = "6,gelu";
  Model headed = model_of(spec);
  check_exports(headed);
}

namespace {

using Values = std::map<std::string, std::vector<double>>;

constexpr std::int64_t kMap = 6 * 6 * 4;

/// A graph of an image 6 x 6 x 3 that ends in three classes.
struct Case {
  std::string op;  ///< the one that it is about
  std::vector<GraphNode> nodes;
  std::int64_t features = 0;  ///< that the last of them gives
};

GraphNode node(const std::string& op, std::vector<std::int64_t> inputs, Values attributes = {}) {
  static int count = 0;
  return {text(op, count++), op, std::move(inputs), std::move(attributes)};
}

std::vector<Case> cases() {
  const GraphNode conv =
      node("conv", {0}, {{"in", {3}}, {"out", {4}}, {"r", {3}}, {"s", {3}}, {"pad_h", {1}}, {"pad_w", {1}}});
  std::vector<Case> all;
  const auto one = [&](const std::string& op, Values attributes = {}, std::int64_t features = kMap) {
    all.push_back({op, {conv, node(op, {1}, std::move(attributes))}, features});
  };
  all.push_back({"conv",
                 {conv, node("conv", {1},
                             {{"in", {4}},
                              {"out", {6}},
                              {"r", {3}},
                              {"s", {1}},
                              {"stride_h", {2}},
                              {"pad_w", {1}},
                              {"groups", {2}},
                              {"dilation_h", {2}},
                              {"bias", {0}},
                              {"relu", {1}}})},
                 1 * 8 * 6});
  one("batch_norm", {{"channels", {4}}});
  one("channel_affine", {{"channels", {4}}});
  one("layer_norm", {{"channels", {4}}, {"eps", {1e-6}}});
  one("dropout", {{"p", {0.5}}});
  one("relu");
  one("affine", {{"alpha", {-0.5}}, {"beta", {0.25}}});
  one("clip", {{"alpha", {-0.5}}, {"beta", {0.5}}});
  one("sigmoid");
  one("silu");
  one("hard_sigmoid", {{"alpha", {0.2}}, {"beta", {0.4}}});
  one("hard_swish");
  one("leaky_relu", {{"alpha", {0.1}}});
  one("gelu");
  one("gelu_tanh");
  one("erf");
  one("tanh");
  one("global_average_pool", {}, 4);
  one("pad", {{"top", {1}}, {"right", {2}}, {"fill", {0.5}}}, 7 * 8 * 4);
  one("max_pool", {{"kernel", {3}}, {"stride", {2}}, {"ceil", {1}}}, 3 * 3 * 4);
  one("average_pool", {{"kernel", {3}}, {"stride", {2}}, {"pad", {1}}}, 3 * 3 * 4);
  one("reverse_channels");
  one("channels", {{"begin", {1}}, {"count", {2}}}, 6 * 6 * 2);
  one("shuffle", {{"groups", {2}}});
  all.push_back({"add", {conv, node("tanh", {1}), node("add", {1, 2})}, kMap});
  all.push_back({"multiply", {conv, node("tanh", {1}), node("multiply", {1, 2})}, kMap});
  all.push_back({"multiply", {conv, node("global_average_pool", {1}), node("multiply", {1, 2})}, kMap});
  all.push_back({"concat", {conv, node("tanh", {1}), node("concat", {1, 2, 1})}, 3 * kMap});
  all.push_back({"flatten",
                 {conv, node("flatten", {1}), node("relu", {2}), node("affine", {3}, {{"alpha", {2}}, {"beta", {1}}})},
                 kMap});
  // Tokens: 36 of 4 channels, two heads, a class token and positions.
  const GraphNode tokens = node("reshape", {1}, {{"dims", {36, 4}}});
  all.push_back({"reshape", {conv, tokens}, kMap});
  all.push_back({"linear", {conv, tokens, node("linear", {2}, {{"in", {4}}, {"out", {6}}})}, 36 * 6});
  all.push_back({"layer_norm", {conv, tokens, node("layer_norm", {2}, {{"channels", {4}}})}, kMap});
  all.push_back({"token", {conv, tokens, node("token", {2}, {{"tokens", {1}}, {"channels", {4}}})}, 37 * 4});
  all.push_back({"position", {conv, tokens, node("position", {2}, {{"tokens", {36}}, {"channels", {4}}})}, kMap});
  all.push_back(
      {"slice",
       {conv, tokens, node("slice", {2}, {{"inner", {36 * 4}}, {"begin", {4}}, {"count", {8}}, {"dims", {2, 4}}})},
       8});
  all.push_back(
      {"slice",
       {conv, tokens, node("slice", {2}, {{"inner", {4}}, {"begin", {1}}, {"count", {2}}, {"dims", {36, 2}}})},
       72});
  all.push_back({"softmax", {conv, tokens, node("softmax", {2})}, kMap});
  all.push_back(
      {"matmul",
       {conv, tokens,
        node("matmul", {2, 2}, {{"heads", {2}}, {"a_in_channels", {1}}, {"b_in_channels", {1}}, {"transpose_b", {1}}}),
        node("affine", {3}, {{"alpha", {0.7}}, {"beta", {0}}}), node("softmax", {4}),
        node("matmul", {5, 2}, {{"heads", {2}}, {"b_in_channels", {1}}, {"y_in_channels", {1}}})},
       kMap});
  return all;
}

}  // namespace

TEST_CASE("export: every op of a graph is written, and read back") {
  std::set<std::string> seen = {"linear"};
  for (Case& c : cases()) {
    CAPTURE(c.op);
    seen.insert(c.op);
    GraphSpec graph;
    graph.nodes = c.nodes;
    const auto last = static_cast<std::int64_t>(graph.nodes.size());
    const auto features = static_cast<double>(c.features);
    graph.nodes.push_back(node("reshape", {last}, {{"dims", {features}}}));
    graph.nodes.push_back(node("linear", {last + 1}, {{"in", {features}}, {"out", {3}}}));
    Model model = graph_model(graph, 6, 3);
    check_exports(model);
  }
  // tests/tools/quantize_test.sh exports those of 8 bits; fake_quantize is of networks in training, which no file
  // holds.
  const auto of_8_bits = [](const std::string& op) { return op.ends_with("_int8") || op.ends_with("quantize"); };
  for (const std::string& op : graph_ops()) CHECK_MESSAGE((of_8_bits(op) || seen.contains(op)), op);
}

TEST_CASE("export: folded, a network has no batch norm left; with pixels it takes those") {
  const Scratch scratch;
  Model model = stock("resnet8", 32);
  PlainGraph graph = plain_graph(model);
  fold_batch_norm(graph);
  CHECK(std::ranges::none_of(graph.spec.nodes, [](const GraphNode& node) { return node.op == "batch_norm"; }));
  CHECK(std::ranges::none_of(graph.tensors,
                             [](const auto& entry) { return entry.first.find("running") != std::string::npos; }));
  const Preprocessing input = model.spec.preprocessing;
  normalise_inside(graph, input);
  write_onnx(scratch / "net.onnx", graph, {"test", metadata_of(model.spec)});
  const Tensor pixels = golden_uniform("pixels", {2, 32, 32, 3}, 0, 255), normal = Tensor::empty(pixels.shape());
  for (std::int64_t i = 0; i < pixels.count(); ++i) {
    const auto c = static_cast<std::size_t>(i % 3);
    normal.data<float>()[i] = static_cast<float>((pixels.data<float>()[i] / 255 - input.mean[c]) / input.std[c]);
  }
  CHECK(distance(infer(*load_model(scratch / "net.onnx").network, pixels), infer(*model.network, normal)) <= kLimit);
}

TEST_CASE("export: what there is no C of is named in one line, and no file is left") {
  const Scratch scratch;
  const auto refusal = [&](Model model) {
    return error_message([&] { write_c(scratch / "net.c", plain_graph(model), {"", model.spec.classes}); });
  };
  CHECK(refusal(stock("mlp:5", 4, "6,silu")) ==
        "node new_head.layer1 (silu): there is no C of this op here; use --format onnx");
  CHECK(refusal(stock("resnet8", 32)) == "node bn1 (batch_norm): there is no C of this op here; use --format onnx");
  CHECK(refusal(stock("mlp:2000x2000", 4))
            .ends_with("/net.c: the network has 4110005 weights, and a C file at most 4000000: use --format onnx"));
  CHECK(scratch.list().empty());
}
