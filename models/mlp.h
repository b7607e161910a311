// Multi-layer perceptrons: the networks of Hinton et al., arXiv 1503.02531, on MNIST.
#pragma once

#include <vector>

#include "engine/nn/layers.h"

namespace retort {

/// Flatten, then linear layers `layers.0`, `layers.1`, ... with ReLU (and dropout, if asked for) between them. The
/// first layer's file form takes the image in NCHW order, as PyTorch's flatten gives it.
class Mlp : public Network {
 public:
  /// image: [h, w, c] of the input; hidden: widths of the hidden layers, none for one linear map.
  Mlp(const Shape& image, const std::vector<std::int64_t>& hidden, std::int64_t classes, Random& random);
  /// Throws Error for an image of another size.
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return image[0]; }

  Shape image;
  std::vector<Linear> layers;
};

}  // namespace retort
