// ONNX graphs that say the same in two ways: whatever the front end merges, reorders or keeps, they give the same
// logits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/core/kernels.h"
#include "engine/distill/evaluate.h"
#include "models/registry.h"
#include "tests/case.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/models/onnx_writer.h"

using namespace retort;
using namespace retort::test;

namespace {

using Nodes = std::vector<std::string>;
using onnx::node;

std::vector<std::int64_t> list(std::vector<std::int64_t> values) { return values; }

constexpr std::int64_t kMaps = 4, kSide = 3, kFeatures = kMaps * kSide * kSide;

/// An image of 3 x 3 x 3, what the nodes make of it under the name "features", and a matrix that makes logits of those.
onnx::Model model_of(Nodes nodes, std::int64_t features, std::vector<std::string> tensors = {}) {
  onnx::Model model;
  model.input = onnx::value("image", {-1, 3, kSide, kSide});
  model.tensors = {onnx::floats("filter", {kMaps, 3, 3, 3}, uniform(kMaps * 27, 1)),
                   onnx::floats("filter.bias", {kMaps}, uniform(kMaps, 2)),
                   onnx::floats("channels", {kMaps, 1, 1}, uniform(kMaps, 3)),
                   onnx::floats("head.weight", {3, features}, uniform(3 * features, 4))};
  model.tensors.insert(model.tensors.end(), tensors.begin(), tensors.end());
  model.nodes = {node("Conv", {"image", "filter", "filter.bias"}, {"maps"},
                      onnx::attribute("pads", std::vector<std::int64_t>{1, 1, 1, 1}))};
  model.nodes.insert(model.nodes.end(), nodes.begin(), nodes.end());
  model.nodes.push_back(node("Gemm", {"features", "head.weight"}, {"logits"}, onnx::attribute("transB", 1)));
  return model;
}

std::vector<float> logits(const onnx::Model& model) {
  const Scratch scratch;
  const Model loaded = load_model(scratch.write("model.onnx", model.file()));
  const Tensor x = Tensor::from<float>({2, kSide, kSide, 3}, uniform(2 * kSide * kSide * 3, 9));
  const Tensor y = infer(*loaded.network, x);
  return {y.data<float>(), y.data<float>() + y.count()};
}

/// Largest difference over largest logit.
double apart(const onnx::Model& one, const onnx::Model& other) {
  const std::vector<float> a = logits(one), b = logits(other);
  REQUIRE(a.size() == b.size());
  double distance = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    distance = std::max(distance, std::fabs(double{a[i]} - b[i]));
    largest = std::max(largest, std::fabs(double{b[i]}));
  }
  REQUIRE(largest > 0.1);
  return distance / largest;
}

constexpr double kRoundings = 1e-5;  // sums of some 40 terms in another order

std::string refusal(const onnx::Model& model) {
  const Scratch scratch;
  const std::string path = scratch.write("model.onnx", model.file());
  return error_message([&] { load_model(path); });
}

const std::string kPool = node("GlobalAveragePool", {"last"}, {"pooled"}),
                  kFlatten = node("Flatten", {"pooled"}, {"features"});

}  // namespace

TEST_CASE("onnx: a bias is added to a layer's own only where nothing stands between them") {
  const Nodes after = {node("Relu", {"maps"}, {"a"}), node("Add", {"a", "channels"}, {"last"}), kPool, kFlatten};
  const Nodes other = {node("Relu", {"maps"}, {"a"}), node("Sub", {"a", "negative"}, {"last"}), kPool, kFlatten};
  std::vector<float> negative = uniform(kMaps, 3);
  for (float& value : negative) value = -value;
  CHECK(apart(model_of(after, kMaps), model_of(other, kMaps, {onnx::floats("negative", {kMaps, 1, 1}, negative)})) <=
        kRoundings);
  // One value for each of two heads' channels is no bias of both.
  const auto tokens = [](const std::string& bias, bool apart) {
    Nodes nodes = {node("Reshape", {"maps", "to_rows"}, {"rows"}),
                   node("Transpose", {"rows"}, {"tokens"}, onnx::attribute("perm", list({0, 2, 1}))),
                   node("MatMul", {"tokens", "matrix"}, {"mixed"})};
    if (apart) nodes.push_back(node("Reshape", {"mixed", "to_heads"}, {"heads"}));
    nodes.push_back(node("Add", {apart ? "heads" : "mixed", bias}, {"added"}));
    nodes.push_back(apart ? node("Reshape", {"added", "to_tokens"}, {"joined"})
                          : node("Identity", {"added"}, {"joined"}));
    nodes.push_back(node("ReduceMean", {"joined"}, {"features"},
                         onnx::attribute("axes", list({1})) + onnx::attribute("keepdims", 0)));
    return model_of(
        nodes, kMaps,
        {onnx::floats("matrix", {kMaps, kMaps}, uniform(kMaps * kMaps, 5)), onnx::integers("to_rows", {0, kMaps, -1}),
         onnx::integers("to_heads", {0, kSide * kSide, 2, kMaps / 2}),
         onnx::integers("to_tokens", {0, kSide * kSide, kMaps}), onnx::floats("each", {kMaps / 2}, {0.25f, -0.5f}),
         onnx::floats("all", {kMaps}, {0.25f, -0.5f, 0.25f, -0.5f})});
  };
  CHECK(apart(tokens("each", true), tokens("all", false)) <= kRoundings);
}

TEST_CASE("onnx: a value that goes by two names is read by the readers of both") {
  // maps and, rectified, what an Identity calls it.
  const Nodes aliased = {node("Identity", {"maps"}, {"alias"}), node("Relu", {"alias"}, {"a"}),
                         node("Add", {"a", "maps"}, {"last"}), kPool, kFlatten};
  const Nodes plain = {node("Clip", {"maps", "zero"}, {"a"}), node("Add", {"a", "maps"}, {"last"}), kPool, kFlatten};
  const std::vector<std::string> zero = {onnx::floats("zero", {}, {0.0f})};
  CHECK(apart(model_of(aliased, kMaps), model_of(plain, kMaps, zero)) <= kRoundings);
}

TEST_CASE("onnx: what follows a flattened map goes by the file's order of features") {
  const std::vector<float> gamma = uniform(kFeatures, 11, 0.5, 2), beta = uniform(kFeatures, 12),
                           mean = uniform(kFeatures, 13), var = uniform(kFeatures, 14, 0.5, 2);
  std::vector<float> scale(gamma), shift(beta);
  for (std::size_t i = 0; i < scale.size(); ++i) {
    scale[i] = gamma[i] / std::sqrt(var[i] + 1e-5f);
    shift[i] = beta[i] - mean[i] * scale[i];
  }
  const onnx::Dims all = {kFeatures};
  const std::vector<std::string> tensors = {onnx::floats("gamma", all, gamma), onnx::floats("beta", all, beta),
                                            onnx::floats("mean", all, mean),   onnx::floats("var", all, var),
                                            onnx::floats("scale", all, scale), onnx::floats("shift", all, shift)};
  const Nodes normed = {node("Flatten", {"maps"}, {"flat"}),
                        node("BatchNormalization", {"flat", "gamma", "beta", "mean", "var"}, {"features"})};
  const Nodes scaled = {node("Flatten", {"maps"}, {"flat"}), node("Mul", {"flat", "scale"}, {"a"}),
                        node("Add", {"shift", "a"}, {"features"})};
  // Folded into the head by hand: logits = W (scale x + shift).
  onnx::Model folded = model_of({node("Flatten", {"maps"}, {"features"})}, kFeatures);
  std::vector<float> weight = uniform(3 * kFeatures, 4), bias(3);
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t i = 0; i < kFeatures; ++i) {
      float& w = weight[row * kFeatures + i];
      bias[row] += w * shift[i];
      w *= scale[i];
    }
  folded.tensors[3] = onnx::floats("head.weight", {3, kFeatures}, weight);
  folded.tensors.push_back(onnx::floats("head.bias", {3}, bias));
  folded.nodes.back() =
      node("Gemm", {"features", "head.weight", "head.bias"}, {"logits"}, onnx::attribute("transB", 1));
  CHECK(apart(model_of(normed, kFeatures, tensors), folded) <= kRoundings);
  CHECK(apart(model_of(scaled, kFeatures, tensors), folded) <= kRoundings);
}

TEST_CASE("onnx: what would round, or goes by another axis before opset 13, is refused") {
  const Nodes cast = {node("Cast", {"maps"}, {"last"}, onnx::attribute("to", 6)), kPool, kFlatten};
  CHECK(refusal(model_of(cast, kMaps)).find("node the_Cast (Cast): it rounds to whole numbers") != std::string::npos);
  const auto softmax = [](std::uint64_t opset) {
    onnx::Model model = model_of({node("Reshape", {"maps", "to_rows"}, {"rows"}),
                                  node("Transpose", {"rows"}, {"tokens"}, onnx::attribute("perm", list({0, 2, 1}))),
                                  node("Softmax", {"tokens"}, {"shares"}),
                                  node("ReduceMean", {"shares"}, {"features"},
                                       onnx::attribute("axes", list({1})) + onnx::attribute("keepdims", 0))},
                                 kMaps, {onnx::integers("to_rows", {0, kMaps, -1})});
    model.opset = opset;
    return refusal(model);
  };
  CHECK(softmax(13) == "(nothing thrown)");
  CHECK(softmax(12).find("it goes along another axis than the last") != std::string::npos);
}

TEST_CASE("onnx: constants are rounded and clipped as the graph asks") {
  const auto scaled = [](const Nodes& nodes, const std::vector<float>& factors, std::vector<std::string> tensors) {
    Nodes all = nodes;
    for (const std::string& next : {node("Mul", {"maps", "factors"}, {"last"}), kPool, kFlatten}) all.push_back(next);
    tensors.push_back(onnx::floats(nodes.empty() ? "factors" : "given", {kMaps, 1, 1}, factors));
    return model_of(all, kMaps, tensors);
  };
  const std::vector<float> given = {-1.5f, 0.25f, 1, 2.75f};
  const auto bounds = [](float low, float high) {
    return std::vector<std::string>{onnx::floats("low", {}, {low}), onnx::floats("high", {}, {high})};
  };
  CHECK(apart(scaled({node("Ceil", {"given"}, {"factors"})}, given, {}), scaled({}, {-1, 1, 1, 3}, {})) == 0);
  CHECK(apart(scaled({node("Floor", {"given"}, {"factors"})}, given, {}), scaled({}, {-2, 0, 1, 2}, {})) == 0);
  CHECK(apart(scaled({node("Clip", {"given", "low", "high"}, {"factors"})}, given, bounds(-1, 2)),
              scaled({}, {-1, 0.25f, 1, 2}, {})) == 0);
  CHECK(apart(scaled({node("Clip", {"given", "", "high"}, {"factors"})}, given, bounds(-1, 2)),
              scaled({}, {-1.5f, 0.25f, 1, 2}, {})) == 0);

  // Borders as an exporter computes them of the map's extents, none of which may be below 0.
  const auto padded = [](const Nodes& nodes, const char* name, std::vector<std::int64_t> borders) {
    Nodes all = nodes;
    for (const std::string& next : {node("Pad", {"maps", "borders"}, {"last"}), kPool, kFlatten}) all.push_back(next);
    std::vector<std::int64_t> eight(8, 0);
    std::ranges::copy(borders, eight.begin());
    return model_of(all, kMaps, {onnx::integers(name, eight), onnx::tensor("zero", {}, 7, onnx::raw(list({0})))});
  };
  CHECK(apart(padded({node("Clip", {"given", "zero"}, {"borders"})}, "given", {0, 0, -2, 1, 0, 0, 2, -1}),
              padded({}, "borders", {0, 0, 0, 1, 0, 0, 2, 0})) == 0);
  CHECK(refusal(padded({node("Ceil", {"given"}, {"borders"})}, "given", {})).find("of whole numbers") !=
        std::string::npos);
  CHECK(
      refusal(scaled({node("Clip", {"given", "given"}, {"factors"})}, given, {})).find("its bound is not one number") !=
      std::string::npos);
}

TEST_CASE("onnx: the difference of two branches is the sum with one of them turned over") {
  const auto branches = [](const Nodes& joined) {
    Nodes all = {node("Relu", {"maps"}, {"a"}), node("Sigmoid", {"maps"}, {"b"})};
    for (const std::string& next : joined) all.push_back(next);
    for (const std::string& next : {kPool, kFlatten}) all.push_back(next);
    return model_of(all, kMaps, {onnx::floats("minus", {}, {-1})});
  };
  const Nodes turned = {node("Mul", {"b", "minus"}, {"c"}), node("Add", {"a", "c"}, {"last"})};
  CHECK(apart(branches({node("Sub", {"a", "b"}, {"last"})}), branches(turned)) == 0);
  CHECK(apart(branches({node("Sub", {"b", "a"}, {"last"})}), branches(turned)) > 0.1f);
}

TEST_CASE("onnx: a border that is wider on one side is the same where kernels take no such border") {
  for (const std::vector<std::int64_t>& pads : {list({2, 1, 0, 0}), list({0, 0, 2, 1}), list({2, 0, 1, 1})}) {
    CAPTURE(pads[0]);
    const onnx::Model model =
        model_of({node("Conv", {"maps", "second"}, {"last"}, onnx::attribute("pads", pads)), kPool, kFlatten}, kMaps,
                 {onnx::floats("second", {kMaps, kMaps, 2, 2}, uniform(kMaps * kMaps * 4, 5))});
    const std::vector<float> taken = logits(model);
    KernelTable even = kernels_for(Device::cpu, DType::f32);
    even.conv2d.uneven_padding = false;
    const ScopedKernels swapped(DType::f32, even);
    CHECK(logits(model) == taken);
  }
}

TEST_CASE("onnx: constants without elements are joined at once, whatever their extents") {
  const std::string none = onnx::tensor("none", {std::int64_t{1} << 36, 0}, 1, "");
  CHECK(refusal(model_of({node("Concat", {"none", "none"}, {"joined"}, onnx::attribute("axis", 1)),
                          node("Mul", {"maps", "joined"}, {"last"}), kPool, kFlatten},
                         kMaps, {none}))
            .find("its constant is neither one number nor one a channel") != std::string::npos);
}
