// InceptionV3 (Szegedy et al., arXiv 1512.00567) as torchvision builds it, with `transform_input` off: a checkpoint
// trained on ImageNet there expects pixels normalised with mean 0.5 and std 0.5.
#pragma once

#include <optional>

#include "engine/nn/layers.h"

namespace retort {

/// Convolution without bias, batch norm with eps 0.001, ReLU.
class BasicConv2d : public Module {
 public:
  struct Filter {
    std::int64_t r, s;
    std::int64_t stride = 1, pad_h = 0, pad_w = 0;
  };
  BasicConv2d(std::int64_t in, std::int64_t out, const Filter& filter, Random& random,
              Init init = Init::truncated_normal);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Conv2d conv;
  BatchNorm2d bn;
};

/// Figure 5 of the paper, Mixed_5b..5d: (n, h, w, in) -> (n, h, w, 224 + pool_features).
class InceptionA : public Module {
 public:
  InceptionA(std::int64_t in, std::int64_t pool_features, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d branch1x1, branch5x5_1, branch5x5_2, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3, branch_pool;
};

/// Grid reduction, Mixed_6a: (n, h, w, in) -> (n, (h-1)/2, (w-1)/2, in + 480).
class InceptionB : public Module {
 public:
  InceptionB(std::int64_t in, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d branch3x3, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3;
};

/// Figure 6, 7 x 7 filters as pairs of 1 x 7 and 7 x 1, Mixed_6b..6e: (n, h, w, in) -> (n, h, w, 768).
class InceptionC : public Module {
 public:
  InceptionC(std::int64_t in, std::int64_t channels_7x7, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d branch1x1, branch7x7_1, branch7x7_2, branch7x7_3, branch7x7dbl_1, branch7x7dbl_2, branch7x7dbl_3,
      branch7x7dbl_4, branch7x7dbl_5, branch_pool;
};

/// Grid reduction, Mixed_7a: (n, h, w, in) -> (n, (h-1)/2, (w-1)/2, in + 512).
class InceptionD : public Module {
 public:
  InceptionD(std::int64_t in, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d branch3x3_1, branch3x3_2, branch7x7x3_1, branch7x7x3_2, branch7x7x3_3, branch7x7x3_4;
};

/// Figure 7, Mixed_7b and 7c: (n, h, w, in) -> (n, h, w, 2048).
class InceptionE : public Module {
 public:
  InceptionE(std::int64_t in, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d branch1x1, branch3x3_1, branch3x3_2a, branch3x3_2b, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3a,
      branch3x3dbl_3b, branch_pool;
};

/// The auxiliary classifier over Mixed_6e's map, which must be 17 x 17 or larger.
class InceptionAux : public Module {
 public:
  InceptionAux(std::int64_t in, std::int64_t classes, Random& random);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  BasicConv2d conv0, conv1;
  Linear fc;
};

class InceptionV3 : public Network {
 public:
  InceptionV3(std::int64_t channels, std::int64_t classes, bool auxiliary, Random& random);
  /// Computes the auxiliary logits when context.auxiliary asks for them; that takes images of 299 px or more.
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override;
  std::int64_t min_image_size() const override { return 75; }  // Mixed_7a's map of 3 x 3 becomes 1 x 1

  BasicConv2d conv2d_1a, conv2d_2a, conv2d_2b, conv2d_3b, conv2d_4a;
  InceptionA mixed_5b, mixed_5c, mixed_5d;
  InceptionB mixed_6a;
  InceptionC mixed_6b, mixed_6c, mixed_6d, mixed_6e;
  std::optional<InceptionAux> aux_logits;
  InceptionD mixed_7a;
  InceptionE mixed_7b, mixed_7c;
  Linear fc;
};

}  // namespace retort
