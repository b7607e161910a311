#include "models/inception_v3.h"

#include "models/common.h"

namespace retort {
namespace {

using Filter = BasicConv2d::Filter;

constexpr Filter k1x1 = {1, 1};
constexpr Filter k3x3 = {3, 3, 1, 1, 1};
constexpr Filter k3x3Reduce = {3, 3, 2};
constexpr Filter k5x5 = {5, 5, 1, 2, 2};
constexpr Filter k1x3 = {1, 3, 1, 0, 1};
constexpr Filter k3x1 = {3, 1, 1, 1, 0};
constexpr Filter k1x7 = {1, 7, 1, 0, 3};
constexpr Filter k7x1 = {7, 1, 1, 3, 0};

/// Mixed_6e's map is 17 x 17 from here on, the least that the auxiliary head's 5 x 5 pooling and filter leave a pixel
/// of.
constexpr std::int64_t kSmallestForAuxiliary = 299;

Tensor average_pool_3x3(const Tensor& x) { return average_pool(x, {.kernel = 3, .stride = 1, .pad = 1}); }
Tensor max_pool_reduce(const Tensor& x) { return max_pool(x, {.kernel = 3, .stride = 2}); }

}  // namespace

BasicConv2d::BasicConv2d(std::int64_t in, std::int64_t out, const Filter& filter, Random& random, Init init)
    : conv(in, out, filter.r, filter.s,
           {.stride_h = filter.stride, .stride_w = filter.stride, .pad_h = filter.pad_h, .pad_w = filter.pad_w},
           /*has_bias=*/false, init, random),
      bn(out, /*eps=*/0.001) {}

Tensor BasicConv2d::forward(const Tensor& x, ForwardContext& context) {
  return conv_bn(conv, bn, x, context, /*relu=*/true);
}

void BasicConv2d::visit(Visitor& visitor) {
  visitor("conv", conv);
  visitor("bn", bn);
}

InceptionA::InceptionA(std::int64_t in, std::int64_t pool_features, Random& random)
    : branch1x1(in, 64, k1x1, random),
      branch5x5_1(in, 48, k1x1, random),
      branch5x5_2(48, 64, k5x5, random),
      branch3x3dbl_1(in, 64, k1x1, random),
      branch3x3dbl_2(64, 96, k3x3, random),
      branch3x3dbl_3(96, 96, k3x3, random),
      branch_pool(in, pool_features, k1x1, random) {}

Tensor InceptionA::forward(const Tensor& x, ForwardContext& context) {
  const Tensor b1 = branch1x1.forward(x, context);
  const Tensor b5 = branch5x5_2.forward(branch5x5_1.forward(x, context), context);
  Tensor b3 = branch3x3dbl_2.forward(branch3x3dbl_1.forward(x, context), context);
  b3 = branch3x3dbl_3.forward(b3, context);
  const Tensor pool = branch_pool.forward(average_pool_3x3(x), context);
  return concat({b1, b5, b3, pool});
}

void InceptionA::visit(Visitor& visitor) {
  visitor("branch1x1", branch1x1);
  visitor("branch5x5_1", branch5x5_1);
  visitor("branch5x5_2", branch5x5_2);
  visitor("branch3x3dbl_1", branch3x3dbl_1);
  visitor("branch3x3dbl_2", branch3x3dbl_2);
  visitor("branch3x3dbl_3", branch3x3dbl_3);
  visitor("branch_pool", branch_pool);
}

InceptionB::InceptionB(std::int64_t in, Random& random)
    : branch3x3(in, 384, k3x3Reduce, random),
      branch3x3dbl_1(in, 64, k1x1, random),
      branch3x3dbl_2(64, 96, k3x3, random),
      branch3x3dbl_3(96, 96, k3x3Reduce, random) {}

Tensor InceptionB::forward(const Tensor& x, ForwardContext& context) {
  const Tensor b3 = branch3x3.forward(x, context);
  Tensor dbl = branch3x3dbl_2.forward(branch3x3dbl_1.forward(x, context), context);
  dbl = branch3x3dbl_3.forward(dbl, context);
  return concat({b3, dbl, max_pool_reduce(x)});
}

void InceptionB::visit(Visitor& visitor) {
  visitor("branch3x3", branch3x3);
  visitor("branch3x3dbl_1", branch3x3dbl_1);
  visitor("branch3x3dbl_2", branch3x3dbl_2);
  visitor("branch3x3dbl_3", branch3x3dbl_3);
}

InceptionC::InceptionC(std::int64_t in, std::int64_t c7, Random& random)
    : branch1x1(in, 192, k1x1, random),
      branch7x7_1(in, c7, k1x1, random),
      branch7x7_2(c7, c7, k1x7, random),
      branch7x7_3(c7, 192, k7x1, random),
      branch7x7dbl_1(in, c7, k1x1, random),
      branch7x7dbl_2(c7, c7, k7x1, random),
      branch7x7dbl_3(c7, c7, k1x7, random),
      branch7x7dbl_4(c7, c7, k7x1, random),
      branch7x7dbl_5(c7, 192, k1x7, random),
      branch_pool(in, 192, k1x1, random) {}

Tensor InceptionC::forward(const Tensor& x, ForwardContext& context) {
  const Tensor b1 = branch1x1.forward(x, context);
  Tensor b7 = branch7x7_2.forward(branch7x7_1.forward(x, context), context);
  b7 = branch7x7_3.forward(b7, context);
  Tensor dbl = branch7x7dbl_2.forward(branch7x7dbl_1.forward(x, context), context);
  dbl = branch7x7dbl_4.forward(branch7x7dbl_3.forward(dbl, context), context);
  dbl = branch7x7dbl_5.forward(dbl, context);
  const Tensor pool = branch_pool.forward(average_pool_3x3(x), context);
  return concat({b1, b7, dbl, pool});
}

void InceptionC::visit(Visitor& visitor) {
  visitor("branch1x1", branch1x1);
  visitor("branch7x7_1", branch7x7_1);
  visitor("branch7x7_2", branch7x7_2);
  visitor("branch7x7_3", branch7x7_3);
  visitor("branch7x7dbl_1", branch7x7dbl_1);
  visitor("branch7x7dbl_2", branch7x7dbl_2);
  visitor("branch7x7dbl_3", branch7x7dbl_3);
  visitor("branch7x7dbl_4", branch7x7dbl_4);
  visitor("branch7x7dbl_5", branch7x7dbl_5);
  visitor("branch_pool", branch_pool);
}

InceptionD::InceptionD(std::int64_t in, Random& random)
    : branch3x3_1(in, 192, k1x1, random),
      branch3x3_2(192, 320, k3x3Reduce, random),
      branch7x7x3_1(in, 192, k1x1, random),
      branch7x7x3_2(192, 192, k1x7, random),
      branch7x7x3_3(192, 192, k7x1, random),
      branch7x7x3_4(192, 192, k3x3Reduce, random) {}

Tensor InceptionD::forward(const Tensor& x, ForwardContext& context) {
  const Tensor b3 = branch3x3_2.forward(branch3x3_1.forward(x, context), context);
  Tensor b7 = branch7x7x3_2.forward(branch7x7x3_1.forward(x, context), context);
  b7 = branch7x7x3_4.forward(branch7x7x3_3.forward(b7, context), context);
  return concat({b3, b7, max_pool_reduce(x)});
}

void InceptionD::visit(Visitor& visitor) {
  visitor("branch3x3_1", branch3x3_1);
  visitor("branch3x3_2", branch3x3_2);
  visitor("branch7x7x3_1", branch7x7x3_1);
  visitor("branch7x7x3_2", branch7x7x3_2);
  visitor("branch7x7x3_3", branch7x7x3_3);
  visitor("branch7x7x3_4", branch7x7x3_4);
}

InceptionE::InceptionE(std::int64_t in, Random& random)
    : branch1x1(in, 320, k1x1, random),
      branch3x3_1(in, 384, k1x1, random),
      branch3x3_2a(384, 384, k1x3, random),
      branch3x3_2b(384, 384, k3x1, random),
      branch3x3dbl_1(in, 448, k1x1, random),
      branch3x3dbl_2(448, 384, k3x3, random),
      branch3x3dbl_3a(384, 384, k1x3, random),
      branch3x3dbl_3b(384, 384, k3x1, random),
      branch_pool(in, 192, k1x1, random) {}

Tensor InceptionE::forward(const Tensor& x, ForwardContext& context) {
  const Tensor b1 = branch1x1.forward(x, context);
  const Tensor b3 = branch3x3_1.forward(x, context);
  const Tensor b3a = branch3x3_2a.forward(b3, context), b3b = branch3x3_2b.forward(b3, context);
  const Tensor dbl = branch3x3dbl_2.forward(branch3x3dbl_1.forward(x, context), context);
  const Tensor dbl_a = branch3x3dbl_3a.forward(dbl, context), dbl_b = branch3x3dbl_3b.forward(dbl, context);
  const Tensor pool = branch_pool.forward(average_pool_3x3(x), context);
  return concat({b1, b3a, b3b, dbl_a, dbl_b, pool});
}

void InceptionE::visit(Visitor& visitor) {
  visitor("branch1x1", branch1x1);
  visitor("branch3x3_1", branch3x3_1);
  visitor("branch3x3_2a", branch3x3_2a);
  visitor("branch3x3_2b", branch3x3_2b);
  visitor("branch3x3dbl_1", branch3x3dbl_1);
  visitor("branch3x3dbl_2", branch3x3dbl_2);
  visitor("branch3x3dbl_3a", branch3x3dbl_3a);
  visitor("branch3x3dbl_3b", branch3x3dbl_3b);
  visitor("branch_pool", branch_pool);
}

InceptionAux::InceptionAux(std::int64_t in, std::int64_t classes, Random& random)
    : conv0(in, 128, k1x1, random),
      conv1(128, 768, {5, 5}, random, Init::truncated_normal_001),
      fc(768, classes, Init::truncated_normal_0001, random) {}

Tensor InceptionAux::forward(const Tensor& x, ForwardContext& context) {
  Tensor y = average_pool(x, {.kernel = 5, .stride = 3});  // (n, 5, 5, 768) from 17 x 17
  y = conv1.forward(conv0.forward(y, context), context);   // (n, 1, 1, 768)
  return fc.forward(global_average_pool(y), context);
}

void InceptionAux::visit(Visitor& visitor) {
  visitor("conv0", conv0);
  visitor("conv1", conv1);
  visitor("fc", fc);
}

InceptionV3::InceptionV3(std::int64_t channels, std::int64_t classes, bool auxiliary, Random& random)
    : conv2d_1a(channels, 32, k3x3Reduce, random),
      conv2d_2a(32, 32, {3, 3}, random),
      conv2d_2b(32, 64, k3x3, random),
      conv2d_3b(64, 80, k1x1, random),
      conv2d_4a(80, 192, {3, 3}, random),
      mixed_5b(192, 32, random),
      mixed_5c(256, 64, random),
      mixed_5d(288, 64, random),
      mixed_6a(288, random),
      mixed_6b(768, 128, random),
      mixed_6c(768, 160, random),
      mixed_6d(768, 160, random),
      mixed_6e(768, 192, random),
      mixed_7a(768, random),
      mixed_7b(1280, random),
      mixed_7c(2048, random),
      fc(2048, classes, Init::truncated_normal, random) {
  if (auxiliary) aux_logits.emplace(768, classes, random);
}

Tensor InceptionV3::forward(const Tensor& x, ForwardContext& context) {
  check_image("inception_v3", x, min_image_size());
  const bool auxiliary = aux_logits && context.auxiliary;
  if (auxiliary) check_image("inception_v3 with its auxiliary head", x, kSmallestForAuxiliary);

  // Map sizes are those at 299 px.
  Tensor y = conv2d_1a.forward(x, context);                                                         // (n, 149, 149, 32)
  y = conv2d_2a.forward(y, context);                                                                // (n, 147, 147, 32)
  y = max_pool_reduce(conv2d_2b.forward(y, context));                                               // (n, 73, 73, 64)
  y = conv2d_3b.forward(y, context);                                                                // (n, 73, 73, 80)
  y = max_pool_reduce(conv2d_4a.forward(y, context));                                               // (n, 35, 35, 192)
  for (auto* block : {&mixed_5b, &mixed_5c, &mixed_5d}) y = block->forward(y, context);             // (n, 35, 35, 288)
  y = mixed_6a.forward(y, context);                                                                 // (n, 17, 17, 768)
  for (auto* block : {&mixed_6b, &mixed_6c, &mixed_6d, &mixed_6e}) y = block->forward(y, context);  // (n, 17, 17, 768)
  if (auxiliary) *context.auxiliary = aux_logits->forward(y, context);
  y = mixed_7a.forward(y, context);                             // (n, 8, 8, 1280)
  y = mixed_7c.forward(mixed_7b.forward(y, context), context);  // (n, 8, 8, 2048)
  y = dropout_layer(global_average_pool(y), 0.5, context);      // (n, 2048)
  return fc.forward(y, context);
}

void InceptionV3::visit(Visitor& visitor) {
  visitor("Conv2d_1a_3x3", conv2d_1a);
  visitor("Conv2d_2a_3x3", conv2d_2a);
  visitor("Conv2d_2b_3x3", conv2d_2b);
  visitor("Conv2d_3b_1x1", conv2d_3b);
  visitor("Conv2d_4a_3x3", conv2d_4a);
  visitor("Mixed_5b", mixed_5b);
  visitor("Mixed_5c", mixed_5c);
  visitor("Mixed_5d", mixed_5d);
  visitor("Mixed_6a", mixed_6a);
  visitor("Mixed_6b", mixed_6b);
  visitor("Mixed_6c", mixed_6c);
  visitor("Mixed_6d", mixed_6d);
  visitor("Mixed_6e", mixed_6e);
  visitor("AuxLogits", aux_logits);
  visitor("Mixed_7a", mixed_7a);
  visitor("Mixed_7b", mixed_7b);
  visitor("Mixed_7c", mixed_7c);
  visitor("fc", fc);
}

}  // namespace retort
