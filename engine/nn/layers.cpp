#include "engine/nn/layers.h"

#include <cmath>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/fake_quantize.h"
#include "engine/ops/layer_norm.h"
#include "engine/ops/linear.h"

namespace retort {
namespace {

Parameter trainable(const Shape& shape, double value = 0) {
  Parameter parameter;
  parameter.value = Tensor::full(shape, value).require_grad();
  return parameter;
}

Parameter buffer(Tensor value) {
  Parameter parameter;
  parameter.value = std::move(value);
  parameter.buffer = true;
  return parameter;
}

void init_weight(Tensor& weight, Init init, std::int64_t fan_in, std::int64_t fan_out, Random& random) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  const Random draws = random.split();
  switch (init) {
    case Init::kaiming_uniform_default: return fill_uniform(weight, -bound, bound, draws);
    case Init::kaiming_normal_fan_out:
      return fill_normal(weight, 0, std::sqrt(2 / static_cast<double>(fan_out)), draws);
    case Init::normal_001: return fill_normal(weight, 0, 0.01, draws);
    case Init::truncated_normal: return fill_normal(weight, 0, 0.1, draws);
    case Init::truncated_normal_001: return fill_normal(weight, 0, 0.01, draws);
    case Init::truncated_normal_0001: return fill_normal(weight, 0, 0.001, draws);
  }
}

/// Biases stay 0 where the recipe says so, else they start as PyTorch's default.
void init_bias(Tensor& bias, Init init, std::int64_t fan_in, Random& random) {
  if (init == Init::kaiming_normal_fan_out || init == Init::normal_001) return;
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  fill_uniform(bias, -bound, bound, random.split());
}

std::string layer_name(const Parameter& weight) { return weight.name.substr(0, weight.name.rfind(".weight")); }

bool is_tapped(const ForwardContext& context, const Parameter& weight) {
  return context.taps && context.taps->contains(layer_name(weight));
}

/// Hands out what is asked for of a layer's output.
void show(ForwardContext& context, const char* kind, const Parameter& weight, const Parameter& bias, const Tensor& y,
          std::int64_t macs) {
  if (is_tapped(context, weight)) (*context.taps)[layer_name(weight)] = y;
  if (!context.report) return;
  const std::int64_t count = weight.value.count() + (bias.value ? bias.value.count() : 0);
  context.report->push_back({layer_name(weight), kind, y.shape(), count, macs, y.slot()});
}

void show(ForwardContext& context, const Conv2d& conv, const Tensor& y) {
  const Shape& filter = conv.weight.value.shape();
  show(context, "Conv2d", conv.weight, conv.bias, y, y.count() * filter[0] * filter[1] * filter[2]);
}

void show(ForwardContext& context, const BatchNorm2d& bn, const Tensor& y) {
  show(context, "BatchNorm2d", bn.weight, bn.bias, y, 0);
}

/// Frozen statistics must not move, so the batch's cannot be used either.
bool uses_batch_statistics(const ForwardContext& context, const BatchNorm2d& bn) {
  return context.training && !bn.running_mean.frozen;
}

}  // namespace

Conv2d::Conv2d(std::int64_t in, std::int64_t out, std::int64_t r, std::int64_t s, const Conv2dOptions& options,
               bool has_bias, Init init, Random& random)
    : weight(trainable({r, s, in / options.groups, out})), options(options) {
  const std::int64_t fan_in = r * s * in / options.groups;
  weight.layout = FileLayout::conv;
  init_weight(weight.value, init, fan_in, r * s * out, random);
  if (has_bias) {
    bias = trainable({out});
    init_bias(bias.value, init, fan_in, random);
  }
}

Tensor Conv2d::forward(const Tensor& x, ForwardContext& context) {
  Tensor y = context.filters && !rounded
                 ? conv2d_inference(x, weight.value, bias.value, options, {}, context.filters)
                 : conv2d(x, rounded ? fake_quantize_weight(weight.value) : weight.value, bias.value, options);
  show(context, *this, y);
  return y;
}

void Conv2d::visit(Visitor& visitor) {
  visitor("weight", weight);
  if (bias.value) visitor("bias", bias);
}

BatchNorm2d::BatchNorm2d(std::int64_t channels, double eps, double momentum)
    : weight(trainable({channels}, 1)),
      bias(trainable({channels})),
      running_mean(buffer(Tensor::zeros({channels}))),
      running_var(buffer(Tensor::full({channels}, 1))),
      num_batches_tracked(buffer(Tensor::zeros({}, DType::i64))),
      eps(eps),
      momentum(momentum) {}

Tensor BatchNorm2d::forward(const Tensor& x, ForwardContext& context, bool relu, const Tensor& residual) {
  const bool training = uses_batch_statistics(context, *this);
  const BatchNormOptions options{.training = training,
                                 .momentum = context.momentum.value_or(momentum),
                                 .eps = eps,
                                 .relu = relu,
                                 .share = context.batch_share};
  Tensor y = batch_norm(x, weight.value, bias.value, running_mean.value, running_var.value, options, residual);
  if (training) ++*num_batches_tracked.value.data<std::int64_t>();
  show(context, *this, y);
  return y;
}

void BatchNorm2d::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
  visitor("running_mean", running_mean);
  visitor("running_var", running_var);
  visitor("num_batches_tracked", num_batches_tracked);
}

Tensor conv_bn(Conv2d& conv, BatchNorm2d& bn, const Tensor& x, ForwardContext& context, bool relu,
               const Tensor& residual) {
  check(!conv.options.relu, "[conv_bn] the convolution rectifies before it is normalised; turn its relu off");
  const Tensor &weight = conv.weight.value, &bias = conv.bias.value, &gamma = bn.weight.value, &beta = bn.bias.value;
  if (uses_batch_statistics(context, bn) || recording({&x, &weight, &bias, &gamma, &beta, &residual}) ||
      is_tapped(context, conv.weight) || conv.rounded)
    return bn.forward(conv.forward(x, context), context, relu, residual);
  Conv2dOptions options = conv.options;
  options.relu = relu;
  const RunningNorm norm = {gamma, beta, bn.running_mean.value, bn.running_var.value, bn.eps};
  Tensor y = conv2d_inference(x, weight, bias, options, {.norm = &norm, .residual = residual}, context.filters);
  show(context, conv, y);
  show(context, bn, y);
  return y;
}

LayerNorm::LayerNorm(std::int64_t channels, double eps)
    : weight(trainable({channels}, 1)), bias(trainable({channels})), eps(eps) {}

Tensor LayerNorm::forward(const Tensor& x, ForwardContext& context) {
  Tensor y = layer_norm(x, weight.value, bias.value, eps);
  show(context, "LayerNorm", weight, bias, y, 0);
  return y;
}

void LayerNorm::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
}

Linear::Linear(std::int64_t in, std::int64_t out, Init init, Random& random, const Shape& image)
    : weight(trainable({in, out})), bias(trainable({out})) {
  weight.layout = image.rank() ? FileLayout::linear_image : FileLayout::linear;
  weight.image = image;
  init_weight(weight.value, init, in, out, random);
  init_bias(bias.value, init, in, random);
}

Tensor Linear::forward(const Tensor& x, ForwardContext& context, bool relu) {
  const Shape in = x.shape();
  const bool tokens = in.rank() == 3;
  Tensor y = linear(tokens ? reshape(x, {in[0] * in[1], in[2]}) : x,
                    rounded ? fake_quantize_weight(weight.value) : weight.value, bias.value, relu);
  if (tokens) y = reshape(y, {in[0], in[1], y.shape()[1]});
  show(context, "Linear", weight, bias, y, y.count() * weight.value.shape()[0]);
  return y;
}

void Linear::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
}

Tensor dropout_layer(const Tensor& x, double p, ForwardContext& context) {
  const auto layer = static_cast<std::uint64_t>(context.dropouts++);
  if (!context.training) return x;
  // The key's low bits tell the layers of one step apart; no network has 2^16 of them.
  if (!context.dropout_key) context.dropout_key = dropout_key(0, 0, x.device());
  return dropout(x, context.dropout.value_or(p), context.dropout_key, layer);
}

}  // namespace retort
