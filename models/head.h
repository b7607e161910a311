// A head in place of a network's last layer: "512,relu,dropout:0.3" stands for a linear layer of 512, ReLU and dropout
// before the layer that gives the classes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/nn/layers.h"
#include "models/graph/spec.h"

namespace retort {

/// One word of a head.
struct HeadLayer {
  enum class Kind : std::uint8_t { linear, relu, dropout, other } kind = Kind::linear;
  std::int64_t width = 0;  ///< of a linear layer
  double p = 0;            ///< of dropout
  std::string word = {};   ///< of another activation
};

/// The layers of a head: the first a width, the others widths, relu, silu, gelu, hard_swish, tanh, dropout:P. Throws
/// UsageError naming --head and the word.
std::vector<HeadLayer> parse_head(const std::string& head);

/// The name under which the head's own layers stand in a file; the first is the body's last layer.
inline constexpr const char* kHeadName = "new_head";

/// A network whose own last layer has the head's first width, and the rest of the head behind it.
class HeadedNetwork : public Network {
 public:
  HeadedNetwork(std::unique_ptr<Network> body, const std::vector<HeadLayer>& layers, std::int64_t classes,
                Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return body_->min_image_size(); }
  /// The network up to the layer of the head's first width.
  Network& body() { return *body_; }
  /// Adds what follows the body to the nodes of the body.
  void append_to(GraphSpec& graph) const;

 private:
  std::unique_ptr<Network> body_;
  std::vector<HeadLayer> layers_;
  std::vector<Linear> linear_;  ///< of the widths after the first, and the one that gives the classes
};

}  // namespace retort
