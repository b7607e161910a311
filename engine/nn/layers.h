// The layers that own parameters. Constructors take what PyTorch's do and draw torchvision's initial values from the
// Random they are given; forward runs one op.
#pragma once

#include "engine/core/random.h"
#include "engine/nn/module.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv2d.h"

namespace retort {

/// How a weight starts. The bound or deviation counts fan = inputs (or outputs) of one unit. torchvision cuts its
/// truncated normals at +-2, 20 deviations or more away, where none of our draws gets to.
enum class Init : std::uint8_t {
  kaiming_uniform_default,  ///< PyTorch's default: uniform in +-1/sqrt(fan_in), bias likewise
  kaiming_normal_fan_out,  ///< normal, std sqrt(2 / fan_out), bias 0: He et al. 1502.01852; ResNet and VGG convolutions
  normal_001,              ///< normal, std 0.01, bias 0: VGG's classifier
  truncated_normal,        ///< normal, std 0.1, bias as PyTorch's default: InceptionV3
  truncated_normal_001,    ///< likewise, std 0.01: the last convolution of its auxiliary head
  truncated_normal_0001    ///< likewise, std 0.001: the linear layer of its auxiliary head
};

class Conv2d : public Module {
 public:
  /// Square or rectangular filter [r, s]; channels in and out.
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t r, std::int64_t s, const Conv2dOptions& options, bool has_bias,
         Init init, Random& random);
  /// bias and relu fold into the same kernel.
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Parameter weight, bias;  ///< bias.value is empty without one
  Conv2dOptions options;
  bool rounded = false;  ///< the product takes the weight as 8 bits hold it: fake_quantize_weight
};

class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(std::int64_t channels, double eps = 1e-5, double momentum = 0.1);
  /// BN, + residual if given, then ReLU if asked: one fused kernel. Frozen running statistics are used as they are.
  Tensor forward(const Tensor& x, ForwardContext& context, bool relu, const Tensor& residual = {});
  void visit(Visitor& visitor) override;

  Parameter weight, bias, running_mean, running_var, num_batches_tracked;  ///< the last: i64, of rank 0
  double eps, momentum;
};

/// Over the last axis, whatever the others are.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t channels, double eps = 1e-5);
  Tensor forward(const Tensor& x, ForwardContext& context);
  void visit(Visitor& visitor) override;

  Parameter weight, bias;
  double eps;
};

class Linear : public Module {
 public:
  /// image: [h, w, c] of the map that was flattened into `in`, or empty. See FileLayout.
  Linear(std::int64_t in, std::int64_t out, Init init, Random& random, const Shape& image = {});
  /// x [n, in] or [n, tokens, in]; out in place of in.
  Tensor forward(const Tensor& x, ForwardContext& context, bool relu = false);
  void visit(Visitor& visitor) override;

  Parameter weight, bias;
  bool rounded = false;  ///< as Conv2d's
};

/// bn.forward(conv.forward(x), relu, residual): as one kernel where running statistics serve and neither a gradient nor
/// the convolution's own output is wanted.
/// Throws Error if conv.options.relu is on.
Tensor conv_bn(Conv2d& conv, BatchNorm2d& bn, const Tensor& x, ForwardContext& context, bool relu,
               const Tensor& residual = {});

/// Dropout without parameters: draws from context.dropout_key and the layer's position in the pass.
Tensor dropout_layer(const Tensor& x, double p, ForwardContext& context);

}  // namespace retort
