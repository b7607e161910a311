// A graph and its weights while a front end makes them of a file from elsewhere.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"
#include "models/checkpoint.h"
#include "models/graph/spec.h"

namespace retort {

class GraphBuilder {
 public:
  using Attributes = std::map<std::string, std::vector<double>>;

  /// Adds a node, called `wanted` as far as that is plain and free; returns the number of its result.
  std::int64_t add(const std::string& wanted, const char* op, std::vector<std::int64_t> inputs,
                   const Attributes& attributes = {});
  /// The node that gives a value above 0.
  GraphNode& node(std::int64_t value) { return spec.nodes[static_cast<std::size_t>(value - 1)]; }
  /// Throws Error, its message beginning with `where`, where the values are not as many as the extents say.
  void add_weight(const std::string& name, const std::vector<std::int64_t>& dims, std::span<const float> values,
                  const std::string& where);

  GraphSpec spec;
  std::vector<std::pair<std::string, Tensor>> tensors;

 private:
  std::set<std::string> names_;
};

/// Of a reader of graphs: what it made, as a model file would say it.
struct GraphInput {
  std::int64_t image_size = 224, channels = 3;
};

/// The graph as a checkpoint. Of `metadata`, what the file stated of classes, mean and std; what it left open is stated
/// as usual, and said.
Checkpoint graph_checkpoint(GraphBuilder graph, const GraphInput& input, std::map<std::string, std::string> metadata,
                            std::vector<std::string> said, const std::string& path);

}  // namespace retort
