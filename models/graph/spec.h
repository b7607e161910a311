// A network as data: a list of nodes, each an op of the engine, in the order in which they run. What front ends make of
// a file from elsewhere, and what a model file keeps in its metadata as JSON:
//
//   {"nodes": [{"name": "features.0", "op": "conv", "inputs": [0], "attributes": {"out": [32], ...}}, ...]}
//
// Input 0 is the image, input k the result of node k - 1. The last node gives the logits. Values are NHWC in memory,
// [n, h, w, c] or [n, features].
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/check.h"

namespace retort {

struct GraphNode {
  std::string name;  ///< of the layer in a checkpoint; unique
  std::string op;    ///< a word of graph_ops()
  std::vector<std::int64_t> inputs;
  std::map<std::string, std::vector<double>> attributes;

  /// An attribute's only value; Error naming node and attribute where it is not there and has no default.
  double number(const std::string& key) const;
  double number(const std::string& key, double otherwise) const;
  /// As a whole number in [low, high]; Error otherwise.
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high, std::int64_t otherwise) const;
};

struct GraphSpec {
  std::vector<GraphNode> nodes;
};

/// The largest extent that an attribute may name, and the most elements of one tensor of weights.
inline constexpr std::int64_t kMaxGraphExtent = 1 << 20, kMaxGraphElements = std::int64_t{1} << 31;

std::string to_json(const GraphSpec& spec);
/// Throws Error, its message beginning with `where`, for what is no such JSON, a node without inputs that come before
/// it, and a name twice.
GraphSpec graph_from_json(const std::string& json, const std::string& where);

}  // namespace retort
