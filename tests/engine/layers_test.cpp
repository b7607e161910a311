#include "engine/nn/layers.h"

#include "engine/ops/dropout.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/tape.h"
#include "engine/ops/linear.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

struct Spread {
  double mean, deviation, largest;
};

Spread spread(const Tensor& tensor) {
  double sum = 0, squares = 0, largest = 0;
  for (const float x : tensor.span<float>()) {
    sum += x;
    squares += double{x} * x;
    largest = std::max(largest, std::abs(double{x}));
  }
  const double n = static_cast<double>(tensor.count());
  return {sum / n, std::sqrt(squares / n - sum / n * sum / n), largest};
}

/// The deviation of n draws is this near to the distribution's, five standard errors.
bool near_deviation(const Tensor& tensor, double expected) {
  return std::abs(spread(tensor).deviation - expected) <= 5 * expected / std::sqrt(static_cast<double>(tensor.count()));
}

}  // namespace

TEST_CASE("Conv2d: weight RSCK, PyTorch's default start, one convolution forward") {
  Random random(1);
  Conv2d conv(8, 16, 3, 5, {.pad_h = 1, .groups = 2}, true, Init::kaiming_uniform_default, random);
  CHECK(conv.weight.value.shape() == Shape{3, 5, 4, 16});
  CHECK(conv.weight.layout == FileLayout::conv);
  const double bound = 1 / std::sqrt(3 * 5 * 4);
  CHECK(spread(conv.weight.value).largest <= bound);
  CHECK(near_deviation(conv.weight.value, bound / std::sqrt(3)));
  CHECK(spread(conv.bias.value).largest <= bound);
  CHECK(spread(conv.bias.value).largest > 0);
  ForwardContext context;
  const Tensor x = random_tensor({2, 6, 6, 8}, 2).to(DType::f32);
  const Tensor y = conv.forward(x, context);
  CHECK(y.shape() == Shape{2, 6, 2, 16});
  CHECK(max_difference(y, conv2d(x, conv.weight.value, conv.bias.value, conv.options)) == 0);
}

TEST_CASE("Conv2d: without a bias there is none to visit") {
  Random random(1);
  Conv2d conv(2, 2, 1, 1, {}, false, Init::kaiming_normal_fan_out, random);
  CHECK(parameters(conv).size() == 1);
  CHECK_FALSE(conv.bias.value);
}

TEST_CASE("starts of weights and biases") {
  Random random(1);
  const struct {
    Init init;
    double deviation;
    bool bias;
  } cases[] = {{Init::kaiming_normal_fan_out, std::sqrt(2.0 / (3 * 3 * 64)), false},
               {Init::normal_001, 0.01, false},
               {Init::truncated_normal, 0.1, true},
               {Init::truncated_normal_001, 0.01, true},
               {Init::truncated_normal_0001, 0.001, true}};
  for (const auto& c : cases) {
    const Conv2d conv(32, 64, 3, 3, {}, true, c.init, random);
    CHECK(near_deviation(conv.weight.value, c.deviation));
    CHECK(std::abs(spread(conv.weight.value).mean) <= 5 * c.deviation / std::sqrt(32 * 64 * 9));
    CHECK(spread(conv.weight.value).largest < 2);
    CHECK((spread(conv.bias.value).largest > 0) == c.bias);
  }
}

TEST_CASE("layers made one after the other start differently, and alike from the same seed") {
  Random random(1), again(1);
  const Linear a(4, 4, Init::kaiming_uniform_default, random), b(4, 4, Init::kaiming_uniform_default, random);
  const Linear c(4, 4, Init::kaiming_uniform_default, again);
  CHECK(max_difference(a.weight.value, b.weight.value) > 0);
  CHECK(max_difference(a.weight.value, c.weight.value) == 0);
  CHECK(a.weight.value.data<float>()[0] != a.bias.value.data<float>()[0]);
}

TEST_CASE("Linear: layouts, and one product forward") {
  Random random(1);
  Linear plain(6, 3, Init::kaiming_uniform_default, random), image(12, 3, Init::normal_001, random, {2, 2, 3});
  CHECK(plain.weight.value.shape() == Shape{6, 3});
  CHECK(plain.weight.layout == FileLayout::linear);
  CHECK(image.weight.layout == FileLayout::linear_image);
  CHECK(image.weight.image == Shape{2, 2, 3});
  ForwardContext context;
  const Tensor x = random_tensor({2, 6}, 2).to(DType::f32);
  CHECK(max_difference(plain.forward(x, context, true), linear(x, plain.weight.value, plain.bias.value, true)) == 0);
}

TEST_CASE("BatchNorm2d: training counts its batches and moves its statistics, evaluation does not") {
  BatchNorm2d norm(3, 0.001, 0.5);
  CHECK(norm.num_batches_tracked.value.shape() == Shape{});
  const auto batches = [&norm] { return *norm.num_batches_tracked.value.data<std::int64_t>(); };
  const Tensor x = random_tensor({4, 2, 2, 3}, 1, 1, 2).to(DType::f32);
  ForwardContext context;
  norm.forward(x, context, false);
  CHECK(batches() == 0);
  CHECK(max_magnitude(norm.running_mean.value) == 0);
  context.training = true;
  norm.forward(x, context, true, x);
  norm.forward(x, context, true);
  CHECK(batches() == 2);
  CHECK(norm.running_mean.value.data<float>()[0] > 0.5);
}

TEST_CASE("BatchNorm2d: frozen statistics neither move nor give way to the batch's") {
  BatchNorm2d norm(3);
  norm.running_mean.frozen = true;
  const Tensor x = random_tensor({4, 2, 2, 3}, 1, 1, 2).to(DType::f32);
  ForwardContext evaluation, training;
  training.training = true;
  CHECK(max_difference(norm.forward(x, training, false), norm.forward(x, evaluation, false)) == 0);
  CHECK(*norm.num_batches_tracked.value.data<std::int64_t>() == 0);
  CHECK(max_magnitude(norm.running_mean.value) == 0);
}

TEST_CASE("conv_bn: one kernel in evaluation, the two layers where a gradient or the batch's statistics are wanted") {
  Random random(1);
  Conv2d conv(3, 5, 3, 3, {.pad_h = 1, .pad_w = 1}, /*has_bias=*/true, Init::kaiming_uniform_default, random);
  BatchNorm2d bn(5);
  Tensor x = random_tensor({2, 6, 6, 3}, 2).to(DType::f32), residual = random_tensor({2, 6, 6, 5}, 3).to(DType::f32);
  const auto apart = [&](ForwardContext& context) {
    return bn.forward(conv.forward(x, context), context, /*relu=*/true, residual);
  };
  for (int i = 0; i < 5; ++i) {
    bn.running_mean.value.data<float>()[i] = 0.1f * static_cast<float>(i);
    bn.running_var.value.data<float>()[i] = 1 + static_cast<float>(i);
  }
  std::vector<LayerReport> fused_layers, layers;
  ForwardContext evaluation, reported;
  evaluation.report = &fused_layers;
  reported.report = &layers;
  const auto fused = [&](ForwardContext& context) { return conv_bn(conv, bn, x, context, /*relu=*/true, residual); };
  const auto one_kernel = [&] {
    const RunningNorm norm = {bn.weight.value, bn.bias.value, bn.running_mean.value, bn.running_var.value, bn.eps};
    return conv2d_inference(x, conv.weight.value, conv.bias.value, {.pad_h = 1, .pad_w = 1, .relu = true},
                            {.norm = &norm, .residual = residual});
  };
  CHECK(max_difference(fused(evaluation), one_kernel()) == 0);
  const double distance = max_difference(one_kernel(), apart(reported));
  CHECK(distance > 0);
  CHECK(distance <= 1e-5);  // sums of 27 terms of about 0.2
  REQUIRE(fused_layers.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(fused_layers[i].kind == layers[i].kind);
    CHECK(fused_layers[i].output == layers[i].output);
    CHECK(fused_layers[i].parameters == layers[i].parameters);
    CHECK(fused_layers[i].macs == layers[i].macs);
  }

  evaluation.report = nullptr;
  {
    Tape tape;
    CHECK(max_difference(fused(evaluation), apart(evaluation)) == 0);
    CHECK(tape.size() > 0);
  }
  ForwardContext training;
  training.training = true;
  CHECK(max_difference(fused(training), apart(training)) == 0);
  CHECK(*bn.num_batches_tracked.value.data<std::int64_t>() == 2);
  bn.running_mean.frozen = true;
  CHECK(max_difference(fused(training), one_kernel()) == 0);
  CHECK(*bn.num_batches_tracked.value.data<std::int64_t>() == 2);

  x = x.to(DType::bf16);
  residual = residual.to(DType::bf16);
  CHECK(max_difference(fused(evaluation).to(DType::f32), one_kernel().to(DType::f32)) == 0);
  // Apart, the convolution's result is rounded once more; both are below 4.
  CHECK(max_difference(fused(evaluation).to(DType::f32), apart(evaluation).to(DType::f32)) <= 4.0 / 128);

  conv.options.relu = true;
  CHECK(error_message([&] { fused(evaluation); }) ==
        "[conv_bn] the convolution rectifies before it is normalised; turn its relu off");
}

TEST_CASE("dropout_layer: only in training, another mask each layer and step, the override wins") {
  const Tensor x = Tensor::full({1000}, 1);
  ForwardContext context;
  CHECK(dropout_layer(x, 0.5, context).raw() == x.raw());
  const auto run = [&x](std::uint64_t step, std::optional<double> override) {
    ForwardContext training;
    training.training = true;
    training.dropout_key = dropout_key(0, static_cast<std::uint64_t>(step) << 16);
    training.dropout = override;
    const Tensor first = dropout_layer(x, 0.5, training), second = dropout_layer(x, 0.5, training);
    CHECK(training.dropouts == 2);
    return std::pair(first, second);
  };
  const auto [first, second] = run(3, {});
  CHECK(max_difference(first, second) > 0);
  CHECK(max_difference(first, run(3, {}).first) == 0);
  CHECK(max_difference(first, run(4, {}).first) > 0);
  CHECK(max_difference(second, run(4, {}).first) > 0);
  CHECK(run(3, 0.0).first.raw() == x.raw());
  CHECK(max_magnitude(run(3, 0.75).first) == 4);
}

TEST_CASE("layers report their name, kind, output, parameters and multiply-adds") {
  struct Small : Module {
    explicit Small(Random& random)
        : conv(4, 6, 3, 3, {.pad_h = 1, .pad_w = 1, .groups = 2}, true, Init::kaiming_uniform_default, random),
          bn(6),
          fc(6, 5, Init::kaiming_uniform_default, random) {}
    void visit(Visitor& visitor) override {
      visitor("features.conv", conv);
      visitor("bn", bn);
      visitor("fc", fc);
    }
    Conv2d conv;
    BatchNorm2d bn;
    Linear fc;
  };
  Random random(1);
  Small small(random);
  parameters(small);
  std::vector<LayerReport> report;
  ForwardContext context;
  context.report = &report;
  const Tensor y = small.bn.forward(small.conv.forward(Tensor::zeros({2, 5, 4, 4}), context), context, true);
  small.fc.forward(Tensor::zeros({2, 6}), context);
  REQUIRE(report.size() == 3);
  CHECK(report[0].name == "features.conv");
  CHECK(report[0].kind == "Conv2d");
  CHECK(report[0].output == Shape{2, 5, 4, 6});
  CHECK(report[0].parameters == 3 * 3 * 2 * 6 + 6);
  CHECK(report[0].macs == 2 * 5 * 4 * 6 * 3 * 3 * 2);
  CHECK(report[1].name == "bn");
  CHECK(report[1].kind == "BatchNorm2d");
  CHECK(report[1].parameters == 12);
  CHECK(report[1].macs == 0);
  CHECK(report[2].name == "fc");
  CHECK(report[2].kind == "Linear");
  CHECK(report[2].output == Shape{2, 5});
  CHECK(report[2].parameters == 35);
  CHECK(report[2].macs == 60);
}
