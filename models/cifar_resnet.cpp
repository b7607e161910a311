#include "models/cifar_resnet.h"

#include "models/common.h"

namespace retort {
namespace {

std::vector<BasicBlock> stage(std::int64_t in, std::int64_t width, int depth, std::int64_t stride, Shortcut shortcut,
                              Random& random) {
  std::vector<BasicBlock> blocks;
  for (int i = 0; i < (depth - 2) / 6; ++i)
    blocks.emplace_back(i == 0 ? in : width, width, i == 0 ? stride : 1, random, shortcut);
  return blocks;
}

}  // namespace

CifarResNet::CifarResNet(int depth, const std::array<std::int64_t, 4>& widths, Shortcut shortcut, std::int64_t channels,
                         std::int64_t classes, Random& random)
    : conv1(channels, widths[0], 3, 3, {.pad_h = 1, .pad_w = 1}, /*has_bias=*/false, Init::kaiming_normal_fan_out,
            random),
      bn1(widths[0]),
      layer1(stage(widths[0], widths[1], depth, 1, shortcut, random)),
      layer2(stage(widths[1], widths[2], depth, 2, shortcut, random)),
      layer3(stage(widths[2], widths[3], depth, 2, shortcut, random)),
      head(widths[3], classes, Init::kaiming_uniform_default, random),
      shortcut_(shortcut) {
  check(depth >= 8 && depth % 6 == 2, "resnet for CIFAR: depth ", depth, " is not 6n + 2");
}

Tensor CifarResNet::forward(const Tensor& x, ForwardContext& context) {
  check_image("resnet for CIFAR", x, min_image_size());
  Tensor y = conv_bn(conv1, bn1, x, context, /*relu=*/true);
  for (auto* layer : {&layer1, &layer2, &layer3})
    for (BasicBlock& block : *layer) y = block.forward(y, context);
  return head.forward(global_average_pool(y), context);
}

void CifarResNet::visit(Visitor& visitor) {
  visitor("conv1", conv1);
  visitor("bn1", bn1);
  visitor("layer1", layer1);
  visitor("layer2", layer2);
  visitor("layer3", layer3);
  visitor(shortcut_ == Shortcut::parameter_free ? "linear" : "fc", head);
}

}  // namespace retort
