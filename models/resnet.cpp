#include "models/resnet.h"

#include "models/common.h"

namespace retort {
namespace {

/// A square convolution without bias that keeps the map's size up to its stride.
Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, Random& random) {
  const Conv2dOptions options = {.stride_h = stride, .stride_w = stride, .pad_h = kernel / 2, .pad_w = kernel / 2};
  return Conv2d(in, out, kernel, kernel, options, /*has_bias=*/false, Init::kaiming_normal_fan_out, random);
}

/// One stage: only its first block has the stride.
template <class Block>
std::vector<Block> stage(std::int64_t in, std::int64_t width, int blocks, std::int64_t stride, Random& random) {
  std::vector<Block> result;
  for (int i = 0; i < blocks; ++i) {
    result.emplace_back(in, width, i == 0 ? stride : 1, random);
    in = width * Block::kExpansion;
  }
  return result;
}

}  // namespace

Downsample::Downsample(std::int64_t in, std::int64_t out, std::int64_t stride, Random& random)
    : conv(retort::conv(in, out, 1, stride, random)), bn(out) {}

Tensor Downsample::forward(const Tensor& x, ForwardContext& context) {
  return conv_bn(conv, bn, x, context, /*relu=*/false);
}

void Downsample::visit(Visitor& visitor) {
  visitor("0", conv);
  visitor("1", bn);
}

BasicBlock::BasicBlock(std::int64_t in, std::int64_t width, std::int64_t stride, Random& random, Shortcut kind)
    : conv1(conv(in, width, 3, stride, random)),
      bn1(width),
      conv2(conv(width, width, 3, 1, random)),
      bn2(width),
      width_(width),
      stride_(stride),
      same_shape_(stride == 1 && in == width) {
  if (!same_shape_ && kind == Shortcut::convolution) downsample.emplace(in, width, stride, random);
}

Tensor BasicBlock::shortcut(const Tensor& x, ForwardContext& context) {
  if (same_shape_) return x;
  return downsample ? downsample->forward(x, context) : retort::shortcut(x, width_, stride_);
}

Tensor BasicBlock::forward(const Tensor& x, ForwardContext& context) {
  const Tensor y = conv_bn(conv1, bn1, x, context, /*relu=*/true);
  return conv_bn(conv2, bn2, y, context, /*relu=*/true, shortcut(x, context));
}

void BasicBlock::visit(Visitor& visitor) {
  visitor("conv1", conv1);
  visitor("bn1", bn1);
  visitor("conv2", conv2);
  visitor("bn2", bn2);
  visitor("downsample", downsample);
}

Bottleneck::Bottleneck(std::int64_t in, std::int64_t width, std::int64_t stride, Random& random)
    : conv1(conv(in, width, 1, 1, random)),
      bn1(width),
      conv2(conv(width, width, 3, stride, random)),
      bn2(width),
      conv3(conv(width, width * kExpansion, 1, 1, random)),
      bn3(width * kExpansion) {
  if (stride != 1 || in != width * kExpansion) downsample.emplace(in, width * kExpansion, stride, random);
}

Tensor Bottleneck::forward(const Tensor& x, ForwardContext& context) {
  const Tensor shortcut = downsample ? downsample->forward(x, context) : x;
  Tensor y = conv_bn(conv1, bn1, x, context, /*relu=*/true);
  y = conv_bn(conv2, bn2, y, context, /*relu=*/true);
  return conv_bn(conv3, bn3, y, context, /*relu=*/true, shortcut);
}

void Bottleneck::visit(Visitor& visitor) {
  visitor("conv1", conv1);
  visitor("bn1", bn1);
  visitor("conv2", conv2);
  visitor("bn2", bn2);
  visitor("conv3", conv3);
  visitor("bn3", bn3);
  visitor("downsample", downsample);
}

template <class Block>
ResNet<Block>::ResNet(const std::array<int, 4>& blocks, std::int64_t channels, std::int64_t classes, Random& random)
    : conv1(conv(channels, 64, 7, 2, random)),
      bn1(64),
      layer1(stage<Block>(64, 64, blocks[0], 1, random)),
      layer2(stage<Block>(64 * Block::kExpansion, 128, blocks[1], 2, random)),
      layer3(stage<Block>(128 * Block::kExpansion, 256, blocks[2], 2, random)),
      layer4(stage<Block>(256 * Block::kExpansion, 512, blocks[3], 2, random)),
      fc(512 * Block::kExpansion, classes, Init::kaiming_uniform_default, random) {}

template <class Block>
Tensor ResNet<Block>::forward(const Tensor& x, ForwardContext& context) {
  check_image("resnet", x, min_image_size());
  Tensor y = conv_bn(conv1, bn1, x, context, /*relu=*/true);  // (n, h/2, w/2, 64)
  y = max_pool(y, {.kernel = 3, .stride = 2, .pad = 1});      // (n, h/4, w/4, 64)
  for (auto* layer : {&layer1, &layer2, &layer3, &layer4})
    for (Block& block : *layer) y = block.forward(y, context);
  return fc.forward(global_average_pool(y), context);
}

template <class Block>
void ResNet<Block>::visit(Visitor& visitor) {
  visitor("conv1", conv1);
  visitor("bn1", bn1);
  visitor("layer1", layer1);
  visitor("layer2", layer2);
  visitor("layer3", layer3);
  visitor("layer4", layer4);
  visitor("fc", fc);
}

template class ResNet<BasicBlock>;
template class ResNet<Bottleneck>;

std::unique_ptr<Network> make_resnet(int depth, std::int64_t channels, std::int64_t classes, Random& random) {
  using Blocks = std::array<int, 4>;
  switch (depth) {
    case 18: return std::make_unique<ResNet<BasicBlock>>(Blocks{2, 2, 2, 2}, channels, classes, random);
    case 34: return std::make_unique<ResNet<BasicBlock>>(Blocks{3, 4, 6, 3}, channels, classes, random);
    case 50: return std::make_unique<ResNet<Bottleneck>>(Blocks{3, 4, 6, 3}, channels, classes, random);
    case 101: return std::make_unique<ResNet<Bottleneck>>(Blocks{3, 4, 23, 3}, channels, classes, random);
    case 152: return std::make_unique<ResNet<Bottleneck>>(Blocks{3, 8, 36, 3}, channels, classes, random);
    default: throw Error(text("resnet: there is no depth ", depth, ": use 18, 34, 50, 101 or 152"));
  }
}

}  // namespace retort
