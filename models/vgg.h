// VGG (Simonyan & Zisserman, arXiv 1409.1556): stages of 3 x 3 convolutions with a max pooling after each.
#pragma once

#include <optional>
#include <vector>

#include "engine/nn/layers.h"

namespace retort {

/// One 3 x 3 convolution of a stage, with batch norm or without, then ReLU.
class VggConv : public Module {
 public:
  /// relu: only where no batch norm and no pooling comes first.
  VggConv(std::int64_t in, std::int64_t out, bool batch_norm, bool relu, std::int64_t index, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  /// Names the layers by their position in torchvision's Sequential, where ReLU and pooling count too.
  void visit(Visitor& visitor) override;

  Conv2d conv;
  std::optional<BatchNorm2d> bn;

 private:
  std::int64_t index_;
};

/// Stages of convolutions, under the names features.0, features.1 (or .2, .3), ...
class VggFeatures : public Module {
 public:
  /// stages: the widths of each stage's convolutions.
  VggFeatures(std::int64_t channels, const std::vector<std::vector<std::int64_t>>& stages, bool batch_norm,
              Random& random);
  /// Halves the map by max pooling after each of the first `poolings` stages.
  Tensor forward(const Tensor& x, std::size_t poolings, ForwardContext& context);
  void visit(Visitor& visitor) override;

  std::vector<std::vector<VggConv>> stages;
  std::int64_t channels_out;
};

/// torchvision's vgg11, 13, 16, 19 and their _bn forms: five stages, adaptive pooling to 7 x 7, three linear layers
/// (classifier.0, .3, .6) with dropout 0.5.
class Vgg : public Network {
 public:
  /// depth: 11, 13, 16 or 19 layers with weights.
  Vgg(int depth, bool batch_norm, std::int64_t channels, std::int64_t classes, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 32; }  // five halvings leave one pixel

  VggFeatures features;
  Linear fc1, fc2, fc3;
};

/// The VGGs that the distillation literature trains on 32 x 32 images (Tian et al., arXiv 1910.10699): batch norm, four
/// max poolings (three below 64 px), global average pooling, one linear layer. Checkpoint names: features.N counts
/// convolution, batch norm, ReLU and pooling as torchvision's _bn forms do; the head is `classifier`.
class CifarVgg : public Network {
 public:
  /// depth: 8 (one convolution a stage) or 13 (two).
  CifarVgg(int depth, std::int64_t channels, std::int64_t classes, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 8; }  // three halvings leave one pixel

  VggFeatures features;
  Linear classifier;
};

}  // namespace retort
