// ResNet (He et al., arXiv 1512.03385) as torchvision builds it: v1.5, the stride in the bottleneck's 3 x 3
// convolution.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "engine/nn/layers.h"

namespace retort {

/// How a block's shortcut follows a change of shape; A and B are the paper's names.
enum class Shortcut : std::uint8_t {
  convolution,    ///< option B: a 1 x 1 convolution with batch norm, named downsample
  parameter_free  ///< option A: every second pixel; the new channels are 0, half before and half after the old
};

/// A 1 x 1 convolution with batch norm that fits the shortcut to a block's output. Names: downsample.0, downsample.1.
class Downsample : public Module {
 public:
  Downsample(std::int64_t in, std::int64_t out, std::int64_t stride, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Conv2d conv;
  BatchNorm2d bn;
};

/// Two 3 x 3 convolutions and the shortcut.
class BasicBlock : public Module {
 public:
  static constexpr std::int64_t kExpansion = 1;
  BasicBlock(std::int64_t in, std::int64_t width, std::int64_t stride, Random& random,
             Shortcut kind = Shortcut::convolution);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  std::optional<Downsample> downsample;

 private:
  Tensor shortcut(const Tensor& x, ForwardContext& context);

  std::int64_t width_, stride_;
  bool same_shape_;
};

/// 1 x 1 down to `width`, 3 x 3, 1 x 1 up to 4 * width, and the shortcut.
class Bottleneck : public Module {
 public:
  static constexpr std::int64_t kExpansion = 4;
  Bottleneck(std::int64_t in, std::int64_t width, std::int64_t stride, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  Conv2d conv3;
  BatchNorm2d bn3;
  std::optional<Downsample> downsample;
};

/// Block is BasicBlock (ResNet-18, 34) or Bottleneck (50, 101, 152).
template <class Block>
class ResNet : public Network {
 public:
  /// blocks: how many in each of the four stages.
  ResNet(const std::array<int, 4>& blocks, std::int64_t channels, std::int64_t classes, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 1; }  // every filter is padded by half its size

  Conv2d conv1;
  BatchNorm2d bn1;
  std::vector<Block> layer1, layer2, layer3, layer4;
  Linear fc;
};

/// depth: 18, 34, 50, 101 or 152.
std::unique_ptr<Network> make_resnet(int depth, std::int64_t channels, std::int64_t classes, Random& random);

}  // namespace retort
