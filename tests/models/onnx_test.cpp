// ONNX files as networks: what a small one computes, that it trains and is saved, and what damaged ones get.
#include "models/graph/onnx.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "engine/core/tape.h"
#include "engine/distill/evaluate.h"
#include "engine/ops/activation.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/loss.h"
#include "engine/ops/pool.h"
#include "engine/ops/spatial.h"
#include "models/registry.h"
#include "tests/case.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/mutations.h"
#include "tests/models/onnx_writer.h"

using namespace retort;
using namespace retort::test;

namespace {

const std::vector<float> kFilter = uniform(3 * 3 * 3 * 3, 1), kGate = uniform(3 * 3, 2), kMatrix = uniform(3 * 3, 3),
                         kBias = uniform(3, 4);

/// Padding at two sides alone, a gate of squeeze-and-excitation, a shortcut, and a softmax at the end.
onnx::Model small_model() {
  onnx::Model model;
  model.input = onnx::value("image", {-1, 3, 4, 4});
  model.tensors = {onnx::floats("stem.weight", {3, 3, 3, 3}, kFilter), onnx::floats("gate.weight", {3, 3, 1, 1}, kGate),
                   onnx::floats("head.weight", {3, 3}, kMatrix), onnx::floats("head.bias", {3}, kBias),
                   onnx::integers("shape", {0, -1})};
  model.nodes = {onnx::node("Conv", {"image", "stem.weight"}, {"a"},
                            onnx::attribute("pads", std::vector<std::int64_t>{0, 0, 2, 2})),
                 onnx::node("Relu", {"a"}, {"b"}),
                 onnx::node("GlobalAveragePool", {"b"}, {"c"}),
                 onnx::node("Conv", {"c", "gate.weight"}, {"d"}),
                 onnx::node("Sigmoid", {"d"}, {"e"}),
                 onnx::node("Mul", {"b", "e"}, {"f"}),
                 onnx::node("Add", {"f", "b"}, {"g"}),
                 onnx::node("ReduceMean", {"g"}, {"h"}, onnx::attribute("axes", std::vector<std::int64_t>{2, 3})),
                 onnx::node("Reshape", {"h", "shape"}, {"i"}),
                 onnx::node("Gemm", {"i", "head.weight", "head.bias"}, {"j"}, onnx::attribute("transB", 1)),
                 onnx::node("Softmax", {"j"}, {"logits"})};
  return model;
}

/// The same by hand.
Tensor expected(const Tensor& x) {
  const auto rsck = [](const std::vector<float>& oihw, std::int64_t r) {
    Tensor w = Tensor::empty({r, r, 3, 3});
    for (std::int64_t k = 0; k < 3; ++k)
      for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t i = 0; i < r * r; ++i)
          w.data<float>()[(i * 3 + c) * 3 + k] = oihw[static_cast<std::size_t>((k * 3 + c) * r * r + i)];
    return w;
  };
  const Tensor b = relu(conv2d(pad(x, {.bottom = 2, .right = 2}), rsck(kFilter, 3), {}, {}));
  const Tensor e = activate(conv2d(adaptive_average_pool(b, 1, 1), rsck(kGate, 1), {}, {}), {ActivationKind::sigmoid});
  const Tensor h = flatten(adaptive_average_pool(add(multiply(b, e), b), 1, 1));
  Tensor matrix = Tensor::empty({3, 3});
  for (int i = 0; i < 9; ++i) matrix.data<float>()[i % 3 * 3 + i / 3] = kMatrix[static_cast<std::size_t>(i)];
  return linear(h, matrix, Tensor::from<float>({3}, std::span<const float>(kBias)));
}

Tensor images() { return Tensor::from<float>({2, 4, 4, 3}, std::span<const float>(uniform(2 * 4 * 4 * 3, 9))); }

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (std::int64_t i = 0; i < a.count(); ++i)
    worst = std::max(worst, std::abs(double{a.data<float>()[i]} - b.data<float>()[i]));
  return worst;
}

std::string refusal(const Scratch& scratch, const std::string& content) {
  const std::string path = scratch.write("model.onnx", content);
  std::string message = error_message([&] { load_model(path); });
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find("model.onnx") != std::string::npos);
  return message;
}

bool says(const std::string& message, const std::string& part) {
  INFO(message);
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("onnx: a file is known by its content and computes what it says") {
  const Scratch scratch;
  const Model model = load_model(scratch.write("model.pth", small_model().file()));
  CHECK(model.spec.architecture == kGraph);
  CHECK(model.spec.preprocessing.image_size == 4);
  CHECK(model.spec.classes == std::vector<std::string>{"0", "1", "2"});
  REQUIRE(model.said.size() == 3);
  CHECK(says(model.said[0], "its last op, Softmax, is left out"));
  CHECK(says(model.said[1], "does not name its classes"));
  CHECK(says(model.said[2], "does not say how it takes pixels"));
  CHECK(distance(infer(*model.network, images()), expected(images())) <= 1e-6);
}

TEST_CASE("onnx: metadata name classes and pixels") {
  const Scratch scratch;
  onnx::Model described = small_model();
  described.metadata = {
      {"classes", R"(["a", "b", "c"])"}, {"mean", "[0.1, 0.2, 0.3]"}, {"std", "[0.5, 0.6, 0.7]"}, {"author", "x"}};
  const Model model = load_model(scratch.write("model.onnx", described.file()));
  CHECK(model.spec.classes == std::vector<std::string>{"a", "b", "c"});
  CHECK(model.spec.preprocessing.std == std::vector<double>{0.5, 0.6, 0.7});
  CHECK(model.said.size() == 1);
}

TEST_CASE("onnx: a graph is saved as a model file, loads the same, and takes another number of classes") {
  const Scratch scratch;
  Model model = load_model(scratch.write("model.onnx", small_model().file()));
  save_model(scratch / "saved.safetensors", *model.network, model.spec);
  const Model again = load_model(scratch / "saved.safetensors");
  CHECK(distance(infer(*again.network, images()), infer(*model.network, images())) == 0);

  ModelSpec two = again.spec;
  two.classes = {"cat", "dog"};
  const std::unique_ptr<Network> student = make_network(two, 1);
  const LoadReport report = load_weights(*student, two, scratch / "saved.safetensors", /*replace_head=*/true);
  REQUIRE(report.lines.size() == 1);
  CHECK(says(report.lines[0], "its head `head` has 3 classes, not 2: it is replaced"));
  CHECK(infer(*student, images()).shape() == Shape{2, 2});
}

TEST_CASE("onnx: a graph trains") {
  const Scratch scratch;
  const Model model = load_model(scratch.write("model.onnx", small_model().file()));
  Tape tape;
  ForwardContext context;
  context.training = true;
  Targets targets;
  targets.labels = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{0, 2});
  tape.backward(cross_entropy(model.network->forward(images(), context), targets));
  for (const Parameter* parameter : parameters(*model.network)) {
    CAPTURE(parameter->name);
    CHECK(parameter->value.grad().shape() == parameter->value.shape());
  }
}

TEST_CASE("onnx: weights in a file beside the model, by plain name") {
  const Scratch scratch;
  const auto beside = [&](const std::string& location, const std::string& offset = "8") {
    onnx::Model model = small_model();
    const auto pair = [](const char* key, const std::string& text) {
      return onnx::bytes(13, onnx::bytes(1, key) + onnx::bytes(2, text));
    };
    model.tensors[2] = onnx::number(1, 3) + onnx::number(1, 3) + onnx::number(2, 1) + onnx::bytes(8, "head.weight") +
                       pair("location", location) + pair("offset", offset) + pair("length", "36") + onnx::number(14, 1);
    return model.file();
  };
  scratch.write("weights.bin", std::string(8, 'x') + onnx::raw(kMatrix));
  const Model model = load_model(scratch.write("model.onnx", beside("weights.bin")));
  CHECK(distance(infer(*model.network, images()), expected(images())) <= 1e-6);

  for (const char* path : {"../weights.bin", "/etc/passwd", "a/b", "..", ""})
    CHECK(says(refusal(scratch, beside(path)), "expected a file beside the model"));
  CHECK(says(refusal(scratch, beside("absent.bin")), "not there or no file"));
  CHECK(says(refusal(scratch, beside("weights.bin", "9")), "36 bytes from 9 of"));
  CHECK(says(refusal(scratch, beside("weights.bin", "18446744073709551615")), "36 bytes from"));
  std::filesystem::create_symlink("weights.bin", scratch / "link.bin");
  CHECK(says(refusal(scratch, beside("link.bin")), "which is a link"));
}

TEST_CASE("onnx: what is damaged or not known is named in one line") {
  const Scratch scratch;
  const auto with = [&](const auto& change) {
    onnx::Model model = small_model();
    change(model);
    return refusal(scratch, model.file());
  };
  CHECK(says(with([](auto& m) { m.nodes[1] = onnx::node("Celu", {"a"}, {"b"}); }),
             "node the_Celu (Celu): this op is not known here"));
  CHECK(says(with([](auto& m) { m.nodes[1] = onnx::node("Relu", {"g"}, {"b"}); }),
             "it needs g, which no node before it gives (a cycle, or a part is missing)"));
  CHECK(says(with([](auto& m) { m.nodes[2] = onnx::node("Relu", {"a"}, {"b"}); }), "another node gives b, too"));
  CHECK(says(with([](auto& m) { m.tensors.erase(m.tensors.begin()); }), "it needs stem.weight"));
  CHECK(says(with([](auto& m) {
               m.tensors[0] = onnx::floats("stem.weight", {3, 2, 3, 3}, uniform(54, 1));
             }),
             "its filter has 2 channels in 1 groups, and its input 3"));
  CHECK(says(with([](auto& m) {
               m.tensors[0] = onnx::floats("stem.weight", {3, 3, 3, 3}, uniform(80, 1));
             }),
             "tensor stem.weight: has 320 bytes, expected 81 elements of 4"));
  CHECK(says(with([](auto& m) {
               m.tensors[0] = onnx::floats("stem.weight", {1 << 30, 1 << 30, 1 << 30, 4}, uniform(81, 1));
             }),
             "its extents overflow"));
  CHECK(says(with([](auto& m) { m.tensors[0] = onnx::tensor("stem.weight", {81}, 8, std::string(81, 'x')); }),
             "is of type 8, expected float32"));
  CHECK(says(with([](auto& m) { m.tensors.push_back(m.tensors[0]); }), "stands in the file twice"));
  CHECK(says(with([](auto& m) { m.opset = 7; }), "is of opset 7, expected 11 to 23"));
  CHECK(says(with([](auto& m) { m.input = onnx::value("image", {-1, 3, 4}); }), "another number of axes than four"));
  CHECK(says(with([](auto& m) { m.input = onnx::value("image", {-1, 3, 4, 8}); }), "is not square"));
  CHECK(says(with([](auto& m) { m.output = onnx::value("g", {-1, 3}); }), "axes, expected [n, classes]"));
  CHECK(says(with([](auto& m) { m.output = onnx::value("nothing", {-1, 3}); }), "is not what its last node computes"));

  const std::string whole = small_model().file();
  for (std::size_t length = 12; length < whole.size(); length += 7)
    refusal(scratch, whole.substr(0, length));  // cut short anywhere: one line, and no more than that
}

TEST_CASE("onnx: constants that are computed of constants take no more memory than those warrant") {
  const Scratch scratch;
  const auto with = [&](const std::vector<std::int64_t>& shape, std::vector<std::string> nodes) {
    onnx::Model model = small_model();
    model.tensors.push_back(onnx::integers("extents", shape));
    model.tensors.push_back(onnx::floats("one", {1}, {1.0f}));
    nodes.push_back(onnx::node("Mul", {"b", "large"}, {"b2"}));
    model.nodes.insert(model.nodes.begin() + 2, nodes.begin(), nodes.end());
    model.nodes[2 + nodes.size()] = onnx::node("GlobalAveragePool", {"b2"}, {"c"});
    return refusal(scratch, model.file());
  };
  CHECK(says(with({1 << 25}, {onnx::node("Expand", {"one", "extents"}, {"large"})}),
             "repeats constants to more than 2^24 elements"));
  CHECK(says(with({1 << 25}, {onnx::node("ConstantOfShape", {"extents"}, {"large"})}), "its shape is none"));
  const std::string many = "is many times as large as they are";
  CHECK(says(with({1 << 23}, {onnx::node("ConstantOfShape", {"extents"}, {"a1"}), onnx::node("Sqrt", {"a1"}, {"a2"}),
                              onnx::node("Sqrt", {"a2"}, {"large"})}),
             many));
  CHECK(says(with({1 << 20},
                  {onnx::node("ConstantOfShape", {"extents"}, {"a1"}),
                   onnx::node("Concat", std::vector<std::string>(16, "a1"), {"large"}, onnx::attribute("axis", 0))}),
             many));
}

TEST_CASE("onnx: thousands of damaged files are read or refused in one line") {
  const Scratch scratch;
  const std::string whole = small_model().file();
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    CAPTURE(seed);
    const std::string path = scratch.write("model.onnx", mutated(whole, seed));
    const std::string message = error_message([&] { import_onnx(path); });
    if (message == "(nothing thrown)") continue;
    ++refused;
    CHECK(message.find("model.onnx") != std::string::npos);
    CHECK(message.size() < 600);
  }
  CHECK(refused > 1000);
}

namespace {

constexpr int kPatches = 4, kTokens = 5, kWidth = 4, kHeads = 2, kHidden = 6, kClasses = 3;

struct VitWeights {
  std::vector<float> patch = uniform(kWidth * 3 * 2 * 2, 21), cls = uniform(kWidth, 22),
                     position = uniform(kTokens * kWidth, 23), gamma = uniform(kWidth, 24, 0.5, 1.5),
                     beta = uniform(kWidth, 25), qkv = uniform(kWidth * 3 * kWidth, 26),
                     qkv_bias = uniform(3 * kWidth, 27), proj = uniform(kWidth * kWidth, 28),
                     up = uniform(kWidth * kHidden, 29), up_bias = uniform(kHidden, 30),
                     down = uniform(kHidden * kWidth, 31), head = uniform(kWidth * kClasses, 32),
                     head_bias = uniform(kClasses, 33);
};

/// A vision transformer of one block as PyTorch's exporter writes it: patches, a class token, positions, attention of
/// two heads, a GELU spelled out.
onnx::Model vit_model() {
  const VitWeights w;
  const auto list = [](std::vector<std::int64_t> values) { return values; };
  onnx::Model model;
  model.input = onnx::value("image", {-1, 3, 4, 4});
  model.tensors = {onnx::floats("patch.weight", {kWidth, 3, 2, 2}, w.patch),
                   onnx::floats("cls", {1, 1, kWidth}, w.cls),
                   onnx::floats("position", {1, kTokens, kWidth}, w.position),
                   onnx::floats("norm.weight", {kWidth}, w.gamma),
                   onnx::floats("norm.bias", {kWidth}, w.beta),
                   onnx::floats("qkv", {kWidth, 3 * kWidth}, w.qkv),
                   onnx::floats("qkv.bias", {3 * kWidth}, w.qkv_bias),
                   onnx::floats("proj", {kWidth, kWidth}, w.proj),
                   onnx::floats("up", {kWidth, kHidden}, w.up),
                   onnx::floats("up.bias", {kHidden}, w.up_bias),
                   onnx::floats("down", {kHidden, kWidth}, w.down),
                   onnx::floats("head.weight", {kWidth, kClasses}, w.head),
                   onnx::floats("head.bias", {kClasses}, w.head_bias),
                   onnx::floats("scale", {}, {0.5f}),
                   onnx::floats("root", {}, {1.41421356f}),
                   onnx::floats("one", {}, {1.0f}),
                   onnx::floats("half", {}, {0.5f}),
                   onnx::integers("to_patches", {0, kWidth, -1}),
                   onnx::integers("to_heads", {0, kTokens, 3, kHeads, kWidth / kHeads}),
                   onnx::integers("to_tokens", {0, kTokens, kWidth}),
                   onnx::integers("flat_heads", {-1, kTokens, kWidth / kHeads}),
                   onnx::integers("apart_heads", {1, kHeads, kWidth / kHeads, kTokens}),
                   onnx::integers("everywhere", {1, -1, -1}),
                   onnx::integers("ones", {1, 1, 1}),
                   onnx::integers("minus", {-1}),
                   onnx::integers("zero", {0}),
                   onnx::tensor("first", {}, 7, onnx::raw(list({0}))),
                   onnx::tensor("second", {}, 7, onnx::raw(list({1}))),
                   onnx::tensor("third", {}, 7, onnx::raw(list({2})))};
  const auto perm = [&](const std::vector<std::int64_t>& order) { return onnx::attribute("perm", order); };
  model.nodes = {
      onnx::node("Conv", {"image", "patch.weight"}, {"maps"}, onnx::attribute("strides", list({2, 2}))),
      onnx::node("Reshape", {"maps", "to_patches"}, {"rows"}),
      onnx::node("Transpose", {"rows"}, {"patches"}, perm({0, 2, 1})),
      // Expand(cls, where(shape == -1, 1, shape))
      onnx::node("Equal", {"everywhere", "minus"}, {"open"}),
      onnx::node("Where", {"open", "ones", "everywhere"}, {"shape"}), onnx::node("Expand", {"cls", "shape"}, {"class"}),
      onnx::node("Concat", {"class", "patches"}, {"joined"}, onnx::attribute("axis", 1)),
      onnx::node("Add", {"joined", "position"}, {"tokens"}),
      onnx::node("LayerNormalization", {"tokens", "norm.weight", "norm.bias"}, {"normed"}),
      onnx::node("MatMul", {"normed", "qkv"}, {"a"}), onnx::node("Add", {"qkv.bias", "a"}, {"b"}),
      onnx::node("Reshape", {"b", "to_heads"}, {"c"}), onnx::node("Transpose", {"c"}, {"d"}, perm({2, 0, 3, 1, 4})),
      onnx::node("Gather", {"d", "first"}, {"q"}), onnx::node("Gather", {"d", "second"}, {"k"}),
      onnx::node("Split", {"d"}, {"", "", "e"}), onnx::node("Squeeze", {"e", "zero"}, {"v"}),
      onnx::node("Mul", {"q", "scale"}, {"scaled"}),
      // As the newer exporter turns k: heads joined to the batch, and taken apart again.
      onnx::node("Reshape", {"k", "flat_heads"}, {"f"}), onnx::node("Transpose", {"f"}, {"g"}, perm({0, 2, 1})),
      onnx::node("Reshape", {"g", "apart_heads"}, {"turned"}), onnx::node("MatMul", {"scaled", "turned"}, {"scores"}),
      onnx::node("Softmax", {"scores"}, {"shares"}), onnx::node("MatMul", {"shares", "v"}, {"heads"}),
      onnx::node("Transpose", {"heads"}, {"h"}, perm({0, 2, 1, 3})), onnx::node("Reshape", {"h", "to_tokens"}, {"i"}),
      onnx::node("MatMul", {"i", "proj"}, {"j"}), onnx::node("Add", {"tokens", "j"}, {"k1"}),
      onnx::node("MatMul", {"k1", "up"}, {"l"}), onnx::node("Add", {"l", "up.bias"}, {"m"}),
      onnx::node("Div", {"m", "root"}, {"n1"}), onnx::node("Erf", {"n1"}, {"o"}),
      onnx::node("Add", {"o", "one"}, {"p"}), onnx::node("Mul", {"m", "p"}, {"r"}),
      onnx::node("Mul", {"r", "half"}, {"s"}), onnx::node("MatMul", {"s", "down"}, {"t"}),
      onnx::node("Add", {"k1", "t"}, {"u"}), onnx::node("Gather", {"u", "first"}, {"v1"}, onnx::attribute("axis", 1)),
      onnx::node("Gemm", {"v1", "head.weight", "head.bias"}, {"logits"})};
  return model;
}

using Rows = std::vector<std::vector<double>>;

Rows times(const Rows& x, const std::vector<float>& matrix, std::size_t columns, const std::vector<float>& bias = {}) {
  Rows y(x.size(), std::vector<double>(columns));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      y[i][j] = bias.empty() ? 0 : bias[j];
      for (std::size_t l = 0; l < x[i].size(); ++l) y[i][j] += x[i][l] * matrix[l * columns + j];
    }
  return y;
}

/// The same by its formulas, for one image [4, 4, 3].
std::vector<double> vit_by_hand(const float* image) {
  const VitWeights w;
  Rows tokens(kTokens, std::vector<double>(kWidth));
  for (std::size_t c = 0; c < kWidth; ++c) {
    tokens[0][c] = w.cls[c];
    for (std::size_t p = 0; p < kPatches; ++p)
      for (std::size_t in = 0; in < 3; ++in)
        for (std::size_t i = 0; i < 2; ++i)
          for (std::size_t j = 0; j < 2; ++j)
            tokens[p + 1][c] +=
                double{w.patch[((c * 3 + in) * 2 + i) * 2 + j]} * image[((p / 2 * 2 + i) * 4 + p % 2 * 2 + j) * 3 + in];
  }
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t c = 0; c < kWidth; ++c) tokens[t][c] += w.position[t * kWidth + c];
  Rows normed = tokens;
  for (std::vector<double>& row : normed) {
    double mean = 0, variance = 0;
    for (const double value : row) mean += value / kWidth;
    for (const double value : row) variance += (value - mean) * (value - mean) / kWidth;
    for (std::size_t c = 0; c < kWidth; ++c)
      row[c] = (row[c] - mean) / std::sqrt(variance + 1e-5) * w.gamma[c] + w.beta[c];
  }
  const Rows qkv = times(normed, w.qkv, 3 * kWidth, w.qkv_bias);
  Rows attended(kTokens, std::vector<double>(kWidth));
  constexpr std::size_t kEach = kWidth / kHeads;
  for (std::size_t head = 0; head < kHeads; ++head)
    for (std::size_t t = 0; t < kTokens; ++t) {
      std::vector<double> share(kTokens);
      double sum = 0;
      for (std::size_t s = 0; s < kTokens; ++s) {
        double score = 0;
        for (std::size_t c = head * kEach; c < (head + 1) * kEach; ++c) score += 0.5 * qkv[t][c] * qkv[s][kWidth + c];
        sum += share[s] = std::exp(score);
      }
      for (std::size_t s = 0; s < kTokens; ++s)
        for (std::size_t c = head * kEach; c < (head + 1) * kEach; ++c)
          attended[t][c] += share[s] / sum * qkv[s][2 * kWidth + c];
    }
  const Rows projected = times(attended, w.proj, kWidth);
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t c = 0; c < kWidth; ++c) tokens[t][c] += projected[t][c];
  Rows hidden = times(tokens, w.up, kHidden, w.up_bias);
  for (std::vector<double>& row : hidden)
    for (double& value : row) value = value * std::erfc(-value * std::sqrt(0.5)) / 2;
  const Rows down = times(hidden, w.down, kWidth);
  for (std::size_t c = 0; c < kWidth; ++c) tokens[0][c] += down[0][c];
  return times({tokens[0]}, w.head, kClasses, w.head_bias)[0];
}

}  // namespace

TEST_CASE("onnx: a vision transformer computes what it says, is saved, and trains") {
  const Scratch scratch;
  const Model model = load_model(scratch.write("vit.onnx", vit_model().file()));
  const Tensor x = images(), y = infer(*model.network, x);
  REQUIRE(y.shape() == Shape{2, kClasses});
  for (int n = 0; n < 2; ++n) {
    const std::vector<double> expected = vit_by_hand(x.data<float>() + n * 4 * 4 * 3);
    for (int i = 0; i < kClasses; ++i)
      CHECK(std::abs(y.data<float>()[n * kClasses + i] - expected[static_cast<std::size_t>(i)]) <= 1e-5);
  }
  // The GELU is one node, and no axis is moved.
  CHECK(model.spec.graph.find("\"gelu\"") != std::string::npos);
  CHECK(model.spec.graph.find("\"erf\"") == std::string::npos);
  CHECK(model.spec.graph.find("\"affine\"") != std::string::npos);  // the scores' scale

  save_model(scratch / "saved.safetensors", *model.network, model.spec);
  CHECK(distance(infer(*load_model(scratch / "saved.safetensors").network, x), y) == 0);

  Tape tape;
  ForwardContext context;
  context.training = true;
  Targets targets;
  targets.labels = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{0, 2});
  tape.backward(cross_entropy(model.network->forward(x, context), targets));
  std::set<std::string> names;
  for (const Parameter* parameter : parameters(*model.network)) {
    CAPTURE(parameter->name);
    CHECK(parameter->value.grad().shape() == parameter->value.shape());
    names.insert(parameter->name);
  }
  CHECK(names.contains("the_Concat.value"));
  CHECK(names.contains("norm.weight"));
}

TEST_CASE("onnx: what attention may not do here is named in one line") {
  const Scratch scratch;
  const auto with = [&](std::size_t index, const std::string& node) {
    onnx::Model model = vit_model();
    model.nodes[index] = node;
    return refusal(scratch, model.file());
  };
  const auto axis = [](std::int64_t value) { return onnx::attribute("axis", value); };
  CHECK(says(with(22, onnx::node("Softmax", {"scores"}, {"shares"}, axis(1))),
             "node the_Softmax (Softmax): it goes along another axis than the last"));
  CHECK(says(with(8, onnx::node("LayerNormalization", {"tokens", "norm.weight", "norm.bias"}, {"normed"}, axis(1))),
             "it normalises other axes than the channels as the last"));
  CHECK(says(with(6, onnx::node("Concat", {"class", "patches"}, {"joined"}, axis(2))),
             "it joins other axes than the tokens"));
  CHECK(says(with(13, onnx::node("Gather", {"d", "zero"}, {"q"}, axis(5))), "axis 5 of a tensor of 5 axes"));
  CHECK(says(with(15, onnx::node("Split", {"d"}, {"", "", "e"}, axis(1))),
             "it has another number of parts than of outputs"));
  CHECK(says(with(16, onnx::node("Squeeze", {"e", "minus"}, {"v"})), "it drops the batch, or an axis of several"));
  CHECK(says(with(20, onnx::node("Reshape", {"g", "to_tokens"}, {"turned"})), "cannot become"));
  CHECK(says(with(21, onnx::node("MatMul", {"scaled", "f"}, {"scores"})), "its two operands are not as many matrices"));
  CHECK(says(with(27, onnx::node("Add", {"tokens", "qkv.bias"}, {"k1"})), "its constant does not fit its input"));
  CHECK(says(with(27, onnx::node("Add", {"tokens", "b"}, {"k1"})), "its two operands have other shapes"));
}

TEST_CASE("onnx: thousands of damaged transformers are read or refused in one line") {
  const Scratch scratch;
  const std::string whole = vit_model().file();
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    CAPTURE(seed);
    const std::string path = scratch.write("model.onnx", mutated(whole, seed));
    const std::string message = error_message([&] { import_onnx(path); });
    if (message == "(nothing thrown)") continue;
    CHECK(message.find("model.onnx") != std::string::npos);
    CHECK(message.size() < 600);
  }
}

TEST_CASE("graph: one of more weights than its file is refused before they are allocated") {
  const Scratch scratch;
  const Model model = load_model(scratch.write("model.onnx", small_model().file()));
  ModelSpec spec = model.spec;
  spec.graph = R"({"nodes": [{"name": "a", "op": "linear", "inputs": [0], )"
               R"("attributes": {"in": [1000000], "out": [2000]}}]})";
  save_model(scratch / "large.safetensors", *model.network, spec);
  CHECK(says(error_message([&] { load_model(scratch / "large.safetensors"); }),
             "its graph has 2000000000 weights where the file holds"));
}

TEST_CASE("graph: metadata that are no graph are refused") {
  const Scratch scratch;
  Model model = load_model(scratch.write("model.onnx", small_model().file()));
  const auto with = [&](const std::string& graph) {
    ModelSpec spec = model.spec;
    spec.graph = graph;
    return error_message([&] { make_network(spec, 0); });
  };
  CHECK(says(with("{"), "no list of nodes"));
  CHECK(says(with(R"({"nodes": [{"name": "a", "op": "conv", "inputs": [1]}]})"), "node 0 is not as expected"));
  CHECK(says(with(R"({"nodes": [{"name": "a", "op": "fly", "inputs": [0]}, )"
                  R"({"name": "b", "op": "linear", "inputs": [1], "attributes": {"in": [3], "out": [3]}}]})"),
             "the op 'fly' is not known here"));
  CHECK(says(
      with(R"({"nodes": [{"name": "a", "op": "linear", "inputs": [0], "attributes": {"in": [1e9], "out": [3]}}]})"),
      "its weights would have more than"));
  CHECK(says(with(R"({"nodes": [{"name": "a", "op": "linear", "inputs": [0], "attributes": {"in": [3], "out": [3]}}, )"
                  R"({"name": "a", "op": "relu", "inputs": [1]}]})"),
             "two nodes called a"));
}
