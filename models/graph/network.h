// A network built from a list of nodes: trained, saved and run like any other.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/nn/layers.h"
#include "models/graph/spec.h"

namespace retort {

/// What a node does. Those without parameters visit nothing.
class GraphLayer : public Module {
 public:
  virtual Tensor forward(const std::vector<Tensor>& inputs, ForwardContext& context) = 0;
  void visit(Visitor&) override {}
};

class GraphNetwork : public Network {
 public:
  /// Weights are drawn from `random`. Throws Error naming node and op: an op that is not known here, a number of inputs
  /// that it does not take, attributes that are missing, out of range, or ask for more elements than 2^31.
  GraphNetwork(GraphSpec spec, Random& random);
  /// Throws Error naming the node whose op the image does not fit.
  Tensor forward(const Tensor& x, ForwardContext& context) override { return forward(x, context, Watch()); }
  /// Sees every value by its number as it is computed, the image first.
  using Watch = std::function<void(std::size_t number, const Tensor& value)>;
  Tensor forward(const Tensor& x, ForwardContext& context, const Watch& watch);
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 1; }
  const GraphSpec& spec() const { return spec_; }

 private:
  /// What a forward pass does next.
  struct Step {
    std::size_t node;  ///< whose value it gives
    GraphLayer* layer;
    std::vector<std::int64_t> inputs, done;  ///< values that are read, and those of them that nobody reads later
  };
  void fuse_convolutions();

  GraphSpec spec_;
  std::vector<std::unique_ptr<GraphLayer>> layers_;
  std::vector<std::unique_ptr<GraphLayer>> fused_;  ///< of fused_steps_, beside layers_
  std::vector<Step> steps_, fused_steps_;           ///< of every pass, and of inference
};

/// The ops of nodes, for messages.
std::vector<std::string> graph_ops();

/// Elements of all filters and matrices, at most 2^40.
std::int64_t elements_of(const GraphSpec& spec);
/// Gives the layer that makes the logits so many outputs. Throws Error where the last layer with weights is no conv or
/// linear.
void set_classes(GraphSpec& spec, std::int64_t classes);
/// How many logits the graph gives; throws as set_classes does.
std::int64_t classes_of(const GraphSpec& spec);

}  // namespace retort
