#include "models/head.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>

#include "engine/core/check.h"
#include "engine/core/number.h"
#include "engine/ops/activation.h"
#include "engine/ops/elementwise.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 16;

struct WordRow {
  const char* word;
  ActivationKind kind;
};
constexpr WordRow kWords[] = {{"silu", ActivationKind::silu},
                              {"gelu", ActivationKind::gelu},
                              {"hard_swish", ActivationKind::hard_swish},
                              {"tanh", ActivationKind::tanh}};

std::optional<ActivationKind> kind_of(const std::string& word) {
  for (const WordRow& row : kWords)
    if (word == row.word) return row.kind;
  return std::nullopt;
}

std::optional<std::int64_t> whole_number_of(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

HeadLayer layer_of(const std::string& word) {
  constexpr std::string_view kDropout = "dropout:";
  if (word == "relu") return {.kind = HeadLayer::Kind::relu};
  if (kind_of(word)) return {.kind = HeadLayer::Kind::other, .word = word};
  if (word.starts_with(kDropout)) {
    const auto p = number_of(std::string_view(word).substr(kDropout.size()));
    if (p && *p >= 0 && *p < 1) return {.kind = HeadLayer::Kind::dropout, .p = *p};
  }
  const auto width = whole_number_of(word);
  if (width && *width >= 1 && *width <= kMaxWidth) return {.kind = HeadLayer::Kind::linear, .width = *width};
  throw UsageError(text("--head: '", word, "' is no layer; give widths from 1 to ", kMaxWidth,
                        ", relu, silu, gelu, hard_swish, tanh, or dropout:P with P in [0, 1), joined by commas"));
}

}  // namespace

std::vector<HeadLayer> parse_head(const std::string& head) {
  std::vector<HeadLayer> layers;
  for (std::size_t begin = 0; begin <= head.size();) {
    const std::size_t end = std::min(head.find(',', begin), head.size());
    layers.push_back(layer_of(head.substr(begin, end - begin)));
    begin = end + 1;
  }
  if (layers[0].kind != HeadLayer::Kind::linear)
    throw UsageError(text("--head: ", head, " begins with no width; give one first, as in 512,relu"));
  return layers;
}

HeadedNetwork::HeadedNetwork(std::unique_ptr<Network> body, const std::vector<HeadLayer>& layers, std::int64_t classes,
                             Random& random)
    : body_(std::move(body)), layers_(layers) {
  std::int64_t in = layers_[0].width;
  const auto add = [&](std::int64_t out) {
    linear_.emplace_back(in, out, Init::kaiming_uniform_default, random);
    in = out;
  };
  for (std::size_t i = 1; i < layers_.size(); ++i)
    if (layers_[i].kind == HeadLayer::Kind::linear) add(layers_[i].width);
  add(classes);
}

Tensor HeadedNetwork::forward(const Tensor& x, ForwardContext& context) {
  Tensor y = body_->forward(x, context);
  auto next = linear_.begin();
  for (std::size_t i = 1; i < layers_.size(); ++i) {
    const HeadLayer& layer = layers_[i];
    switch (layer.kind) {
      case HeadLayer::Kind::linear: y = (next++)->forward(y, context); break;
      case HeadLayer::Kind::relu: y = relu(y); break;
      case HeadLayer::Kind::dropout: y = dropout_layer(y, layer.p, context); break;
      case HeadLayer::Kind::other: y = activate(y, {*kind_of(layer.word)}); break;
    }
  }
  return next->forward(y, context);
}

void HeadedNetwork::append_to(GraphSpec& graph) const {
  const auto add = [&](const std::string& name, const std::string& op,
                       std::map<std::string, std::vector<double>> attributes = {}) {
    graph.nodes.push_back({name, op, {static_cast<std::int64_t>(graph.nodes.size())}, std::move(attributes)});
  };
  std::size_t next = 0;
  const auto add_linear = [&] {
    const Shape& weight = linear_[next].weight.value.shape();
    add(text(kHeadName, ".", next++), "linear",
        {{"in", {static_cast<double>(weight[0])}}, {"out", {static_cast<double>(weight[1])}}});
  };
  for (std::size_t i = 1; i < layers_.size(); ++i) {
    const HeadLayer& layer = layers_[i];
    const std::string name = text(kHeadName, ".layer", i);
    switch (layer.kind) {
      case HeadLayer::Kind::linear: add_linear(); break;
      case HeadLayer::Kind::relu: add(name, "relu"); break;
      case HeadLayer::Kind::dropout: break;
      case HeadLayer::Kind::other: add(name, layer.word); break;
    }
  }
  add_linear();
}

void HeadedNetwork::visit(Visitor& visitor) {
  body_->visit(visitor);
  visitor(kHeadName, linear_);
}

}  // namespace retort
