#include "models/vgg.h"

#include <string>

#include "models/common.h"

namespace retort {
namespace {

using Stages = std::vector<std::vector<std::int64_t>>;

/// Table 1 of the paper, columns A, B, D and E.
Stages vgg_stages(int depth) {
  switch (depth) {
    case 11: return {{64}, {128}, {256, 256}, {512, 512}, {512, 512}};
    case 13: return {{64, 64}, {128, 128}, {256, 256}, {512, 512}, {512, 512}};
    case 16: return {{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}};
    case 19: return {{64, 64}, {128, 128}, {256, 256, 256, 256}, {512, 512, 512, 512}, {512, 512, 512, 512}};
    default: throw Error(text("vgg: there is no depth ", depth, ": use 11, 13, 16 or 19"));
  }
}

Stages cifar_vgg_stages(int depth) {
  if (depth == 8) return {{64}, {128}, {256}, {512}, {512}};
  check(depth == 13, "vgg for CIFAR: there is no depth ", depth, ": use 8 or 13");
  return vgg_stages(13);
}

}  // namespace

VggConv::VggConv(std::int64_t in, std::int64_t out, bool batch_norm, bool relu, std::int64_t index, Random& random)
    : conv(in, out, 3, 3, {.pad_h = 1, .pad_w = 1, .relu = relu}, /*has_bias=*/true, Init::kaiming_normal_fan_out,
           random),
      index_(index) {
  if (batch_norm) bn.emplace(out);
}

Tensor VggConv::forward(const Tensor& x, ForwardContext& context) {
  return bn ? conv_bn(conv, *bn, x, context, /*relu=*/true) : conv.forward(x, context);
}

void VggConv::visit(Visitor& visitor) {
  visitor(std::to_string(index_), conv);
  visitor(std::to_string(index_ + 1), bn);
}

VggFeatures::VggFeatures(std::int64_t channels, const Stages& widths, bool batch_norm, Random& random) {
  std::int64_t index = 0;
  for (const auto& stage : widths) {
    auto& convs = stages.emplace_back();
    for (std::size_t i = 0; i < stage.size(); ++i) {
      const std::int64_t width = stage[i];
      convs.emplace_back(channels, width, batch_norm, /*relu=*/!batch_norm && i + 1 < stage.size(), index, random);
      channels = width;
      index += batch_norm ? 3 : 2;
    }
    ++index;  // the pooling
  }
  channels_out = channels;
}

Tensor VggFeatures::forward(const Tensor& x, std::size_t poolings, ForwardContext& context) {
  Tensor y = x;
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    for (VggConv& conv : stages[stage]) y = conv.forward(y, context);
    if (stage < poolings) y = max_pool(y, {.kernel = 2, .stride = 2});
    // After the pooling there is a fourth to do, and what the convolution gave need not be kept: the ReLU of a maximum
    // is the maximum of the ReLUs.
    if (!stages[stage].back().bn) y = relu(y);
  }
  return y;
}

void VggFeatures::visit(Visitor& visitor) {
  for (auto& stage : stages)
    for (VggConv& conv : stage) conv.visit(visitor);
}

Vgg::Vgg(int depth, bool batch_norm, std::int64_t channels, std::int64_t classes, Random& random)
    : features(channels, vgg_stages(depth), batch_norm, random),
      fc1(512 * 7 * 7, 4096, Init::normal_001, random, {7, 7, 512}),
      fc2(4096, 4096, Init::normal_001, random),
      fc3(4096, classes, Init::normal_001, random) {}

Tensor Vgg::forward(const Tensor& x, ForwardContext& context) {
  check_image("vgg", x, min_image_size());
  Tensor y = features.forward(x, 5, context);   // (n, h/32, w/32, 512)
  y = flatten(adaptive_average_pool(y, 7, 7));  // (n, 25088)
  y = dropout_layer(fc1.forward(y, context, /*relu=*/true), 0.5, context);
  y = dropout_layer(fc2.forward(y, context, /*relu=*/true), 0.5, context);
  return fc3.forward(y, context);
}

void Vgg::visit(Visitor& visitor) {
  visitor("features", features);
  visitor("classifier.0", fc1);
  visitor("classifier.3", fc2);
  visitor("classifier.6", fc3);
}

CifarVgg::CifarVgg(int depth, std::int64_t channels, std::int64_t classes, Random& random)
    : features(channels, cifar_vgg_stages(depth), /*batch_norm=*/true, random),
      classifier(512, classes, Init::normal_001, random) {}

Tensor CifarVgg::forward(const Tensor& x, ForwardContext& context) {
  check_image("vgg for CIFAR", x, min_image_size());
  const std::size_t poolings = x.shape()[1] >= 64 ? 4 : 3;
  return classifier.forward(global_average_pool(features.forward(x, poolings, context)), context);
}

void CifarVgg::visit(Visitor& visitor) {
  visitor("features", features);
  visitor("classifier", classifier);
}

}  // namespace retort
