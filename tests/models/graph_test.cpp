// Networks from lists of nodes: what inference runs in one kernel is what the nodes say.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/random.h"
#include "models/graph/network.h"
#include "tests/case.h"

namespace retort {
namespace {

using Attributes = std::map<std::string, std::vector<double>>;

GraphNode conv(const std::string& name, std::int64_t input, double in, double out, Attributes more = {}) {
  Attributes attributes = {{"in", {in}}, {"out", {out}}, {"r", {3}}, {"s", {3}}, {"pad_h", {1}}, {"pad_w", {1}}};
  attributes.merge(more);
  return {name, "conv", {input}, attributes};
}
GraphNode norm(const std::string& name, std::int64_t input, double channels) {
  return {name, "batch_norm", {input}, {{"channels", {channels}}}};
}
GraphNode clip(const std::string& name, std::int64_t input, double low, double high) {
  return {name, "clip", {input}, {{"alpha", {low}}, {"beta", {high}}}};
}
GraphNode border(const std::string& name, std::int64_t input, double top, double left, double bottom, double right,
                 double fill = 0) {
  return {name,
          "pad",
          {input},
          {{"top", {top}}, {"left", {left}}, {"bottom", {bottom}}, {"right", {right}}, {"fill", {fill}}}};
}
GraphNode plain(const std::string& name, const char* op, std::vector<std::int64_t> inputs) {
  return {name, op, std::move(inputs), {}};
}

/// What inference gives, and what the nodes give one by one; largest difference over largest logit.
double difference(const GraphSpec& spec) {
  Random random(1, 2);
  GraphNetwork network(spec, random);
  // Statistics and offsets of a network that has learned something.
  std::uint64_t seed = 3;
  for (Parameter* parameter : parameters(network)) {
    if (parameter->value.dtype() != DType::f32 || parameter->value.shape().rank() != 1) continue;
    const std::vector<float> values = test::uniform(parameter->value.count(), seed++, 0.5f, 1.5f);
    std::ranges::copy(values, parameter->value.data<float>());
  }
  const Tensor x = Tensor::from<float>({2, 7, 7, 3}, test::uniform(2 * 7 * 7 * 3, 2));
  ForwardContext context;
  std::size_t seen = 0;
  const Tensor fused = network.forward(x, context),
               apart = network.forward(x, context, [&](std::size_t, const Tensor&) { ++seen; });
  REQUIRE(seen == spec.nodes.size() + 1);
  REQUIRE(fused.shape() == apart.shape());
  double largest = 0, distance = 0;
  for (std::int64_t i = 0; i < fused.count(); ++i) {
    largest = std::max(largest, std::fabs(double{apart.data<float>()[i]}));
    distance = std::max(distance, std::fabs(double{fused.data<float>()[i]} - apart.data<float>()[i]));
  }
  REQUIRE(largest > 0);
  return distance / largest;
}

}  // namespace

TEST_CASE("graph: without batch norm inference in one kernel gives the nodes' bits") {
  CHECK(difference({{conv("a", 0, 3, 8), clip("b", 1, 0, 0.5), conv("c", 2, 8, 8), plain("d", "add", {3, 2}),
                     plain("e", "relu", {4}), plain("f", "global_average_pool", {5})}}) == 0);
  // The sum's other operand comes first, and its reader reads the convolution's input, too.
  CHECK(difference({{conv("a", 0, 3, 8), conv("b", 1, 8, 8), plain("c", "add", {1, 2}), plain("d", "add", {1, 3})}}) ==
        0);
  // Two convolutions are added up.
  CHECK(difference({{conv("a", 0, 3, 8), conv("b", 0, 3, 8), plain("c", "add", {1, 2}), clip("d", 3, 0, 1)}}) == 0);
  // What stays: a value that is read twice, a sum with itself, a clip from elsewhere, what follows a ReLU.
  CHECK(difference({{conv("a", 0, 3, 8), plain("b", "relu", {1}), plain("c", "add", {1, 2})}}) == 0);
  CHECK(difference({{conv("a", 0, 3, 8), plain("b", "add", {1, 1})}}) == 0);
  CHECK(difference({{conv("a", 0, 3, 8), clip("b", 1, -0.5, 0.5)}}) == 0);
  CHECK(difference({{conv("a", 0, 3, 8, {{"relu", {1}}}), clip("b", 1, 0, 0.5), conv("c", 2, 8, 8)}}) == 0);
}

TEST_CASE("graph: a border of zeros in the convolution's kernel gives the nodes' bits") {
  const Attributes strided = {{"stride_h", {2}}, {"stride_w", {2}}}, each = {{"groups", {3}}};
  const auto bordered = [](const Attributes& more, double top, double left, double bottom, double right,
                           double fill = 0) {
    return difference(
        {{border("a", 0, top, left, bottom, right, fill), conv("b", 1, 3, 9, more), plain("c", "relu", {2})}});
  };
  CHECK(bordered(strided, 0, 0, 1, 1) == 0);
  CHECK(bordered(strided, 2, 1, 0, 1) == 0);
  CHECK(bordered({}, 0, 1, 2, 0) == 0);
  CHECK(bordered({}, -1, 0, 1, -2) == 0);  // takes rows and columns away
  CHECK(bordered({}, 0, 0, 1, 1, 0.5) == 0);
  CHECK(difference({{border("a", 0, 0, 0, 1, 1), conv("b", 1, 3, 3, each), plain("c", "add", {2, 1})}}) ==
        0);  // read twice
  CHECK(difference({{conv("a", 0, 3, 3, each), border("b", 1, 0, 1, 1, 0), conv("c", 2, 3, 3, each)}}) == 0);
}

TEST_CASE("graph: batch norm in the convolution's kernel rounds once where the nodes round three times") {
  const double apart = difference(
      {{conv("a", 0, 3, 8, {{"bias", {0}}}), norm("b", 1, 8), clip("c", 2, 0, 1), conv("d", 3, 8, 8, {{"groups", {8}}}),
        norm("e", 4, 8), plain("f", "add", {5, 3}), plain("g", "relu", {6}), conv("h", 7, 8, 5)}});
  CHECK(apart > 0);
  CHECK(apart < 1e-5);  // three layers of at most 72 terms
  // Batch norm behind a sum is no part of the convolution.
  CHECK(difference({{conv("a", 0, 3, 8), conv("b", 1, 8, 8), plain("c", "add", {1, 2}), norm("d", 3, 8)}}) == 0);
}

}  // namespace retort
