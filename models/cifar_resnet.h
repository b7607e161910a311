// The ResNets for 32 x 32 images (He et al., arXiv 1512.03385, section 4.2): three stages of basic blocks.
#pragma once

#include <array>
#include <vector>

#include "models/resnet.h"

namespace retort {

/// 6n + 2 layers: a stem, three stages of n basic blocks, global average pooling and a linear head. The head is named
/// `fc`, with option A shortcuts `linear`, as in the checkpoints of either form that people have.
class CifarResNet : public Network {
 public:
  /// depth: 6n + 2. widths: of the stem and of the three stages; {16, 16, 32, 64} in the paper, {32, 64, 128, 256} for
  /// the "x4" networks of Tian et al., arXiv 1910.10699.
  CifarResNet(int depth, const std::array<std::int64_t, 4>& widths, Shortcut shortcut, std::int64_t channels,
              std::int64_t classes, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 1; }  // every filter is padded by half its size

  Conv2d conv1;
  BatchNorm2d bn1;
  std::vector<BasicBlock> layer1, layer2, layer3;
  Linear head;

 private:
  Shortcut shortcut_;
};

}  // namespace retort
