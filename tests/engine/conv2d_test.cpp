#include "engine/ops/conv2d.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/core/kernels.h"
#include "engine/core/tape.h"
#include "engine/ops/activation.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

struct Case {
  const char* name;
  Shape x, weight;
  Conv2dOptions options;
};

const Case cases[] = {
    {"1x1", {2, 3, 4, 3}, {1, 1, 3, 4}, {}},
    {"1x1 at stride 2", {1, 5, 4, 3}, {1, 1, 3, 2}, {.stride_h = 2, .stride_w = 2}},
    {"3x3 padded", {2, 4, 4, 2}, {3, 3, 2, 3}, {.pad_h = 1, .pad_w = 1}},
    {"3x3 without padding", {1, 4, 5, 2}, {3, 3, 2, 3}, {}},
    {"3x3 at stride 2", {1, 6, 5, 2}, {3, 3, 2, 3}, {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
    {"7x7 at stride 2", {1, 9, 9, 2}, {7, 7, 2, 2}, {.stride_h = 2, .stride_w = 2, .pad_h = 3, .pad_w = 3}},
    {"1x7", {1, 3, 8, 2}, {1, 7, 2, 2}, {.pad_w = 3}},
    {"7x1", {1, 8, 3, 2}, {7, 1, 2, 2}, {.pad_h = 3}},
    {"strides and paddings that differ", {1, 6, 7, 2}, {3, 2, 2, 2}, {.stride_h = 2, .stride_w = 3, .pad_w = 1}},
    {"dilated", {1, 6, 7, 2}, {3, 2, 2, 2}, {.pad_h = 2, .pad_w = 1, .dilation_h = 2, .dilation_w = 3}},
    {"two groups", {1, 4, 4, 4}, {3, 3, 2, 6}, {.pad_h = 1, .pad_w = 1, .groups = 2}},
    {"depthwise at stride 2",
     {1, 5, 5, 3},
     {3, 3, 1, 3},
     {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1, .groups = 3}},
    {"the filter as large as the image", {2, 3, 3, 2}, {3, 3, 2, 2}, {}},
};

/// Products and additions that go into one element of the output or of a gradient, at most.
double terms(const Case& c) {
  const std::int64_t window = c.weight.count(), pixels = c.x[0] * c.x[1] * c.x[2];
  return static_cast<double>(std::max(window, pixels));
}

}  // namespace

TEST_CASE("conv2d: gradients of input, weight and bias") {
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const std::vector<Tensor> inputs{random_tensor(c.x, 1), random_tensor(c.weight, 2),
                                     random_tensor({c.weight[3]}, 3)};
    const Function biased = [&c](const auto& in) { return conv2d(in[0], in[1], in[2], c.options); };
    const Function plain = [&c](const auto& in) { return conv2d(in[0], in[1], {}, c.options); };
    CHECK(gradient_error(biased, inputs) <= 1);
    CHECK(gradient_error(plain, {inputs[0], inputs[1]}) <= 1);
    CHECK(f32_error(biased, inputs, terms(c)) <= 1);
  }
}

TEST_CASE("conv2d: gradients with ReLU, which equals relu() after it") {
  for (const Case& c : cases) {
    CAPTURE(c.name);
    // Integers, and a bias of a half: nothing comes near the kink.
    const Tensor bias = Tensor::full({c.weight[3]}, 0.5, DType::f64);
    const std::vector<Tensor> inputs{integer_tensor(c.x, 1), integer_tensor(c.weight, 2), bias};
    Conv2dOptions options = c.options;
    options.relu = true;
    const Function fused = [&options](const auto& in) { return conv2d(in[0], in[1], in[2], options); };
    const Function apart = [&c](const auto& in) { return relu(conv2d(in[0], in[1], in[2], c.options)); };
    CHECK(gradient_error(fused, inputs) <= 1);
    CHECK(max_difference(fused(inputs), apart(inputs)) == 0);
    CHECK(max_magnitude(fused(inputs)) > 0);
    CHECK(f32_error(fused, inputs, terms(c)) <= 1);
  }
}

namespace {

/// What normalises k channels, drawn.
struct Norm {
  explicit Norm(std::int64_t k)
      : gamma(random_tensor({k}, 4, 0.5, 2)),
        beta(random_tensor({k}, 5)),
        mean(random_tensor({k}, 6)),
        var(random_tensor({k}, 7, 0.5, 2)) {}
  RunningNorm operands() const { return {gamma, beta, mean, var, 0.01}; }
  Tensor gamma, beta, mean, var;
};

}  // namespace

TEST_CASE("conv2d_inference: equals the ops in its place") {
  constexpr float kCeiling = 0.75f;  // below some values of all cases
  for (const Case& c : cases)
    for (int variant = 0; variant < 32; ++variant) {
      CAPTURE(c.name);
      CAPTURE(variant);
      const bool normed = (variant & 8) != 0, clipped = (variant & 16) != 0;
      const std::int64_t k = c.weight[3];
      Norm norm(k);  // batch_norm wants its statistics mutable
      const Tensor x = random_tensor(c.x, 1), weight = random_tensor(c.weight, 2),
                   bias = (variant & 1) != 0 ? random_tensor({k}, 3) : Tensor();
      const Tensor before = conv2d(x, weight, bias, c.options);
      const Tensor residual = (variant & 2) != 0 ? random_tensor(before.shape(), 8) : Tensor();
      Conv2dOptions options = c.options;
      options.relu = (variant & 4) != 0;
      Tensor apart = normed     ? batch_norm(before, norm.gamma, norm.beta, norm.mean, norm.var,
                                             {.training = false, .eps = 0.01, .relu = false}, residual)
                     : residual ? add(before, residual)
                                : before;
      if (options.relu) apart = clipped ? activate(apart, {ActivationKind::clip, 0, kCeiling}) : relu(apart);
      const RunningNorm operands = norm.operands();
      ConvTail tail{.norm = normed ? &operands : nullptr, .residual = residual};
      if (clipped) tail.ceiling = kCeiling;
      const Tensor fused = conv2d_inference(x, weight, bias, options, tail);
      // In double, a few roundings of the sum's terms apart.
      CHECK(max_difference(fused, apart) <= 1e-13 * (1 + terms(c)));
    }
}

TEST_CASE("conv2d_inference: filters kept from the last pass change no bits") {
  const Tensor weight = random_tensor({1, 1, 33, 40}, 2).to(DType::f32);
  PreparedFilters filters;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const std::int64_t images : {1, 1, 3, 1, 200}) {  // so many that the weight is taken as it is
      CAPTURE(images);
      const Tensor x = random_tensor({images, 3, 4, 33}, 5).to(dtype);
      const Tensor plain = conv2d_inference(x, weight, {}, {}, {}),
                   kept = conv2d_inference(x, weight, {}, {}, {}, &filters);
      CHECK(max_difference(plain.to(DType::f64), kept.to(DType::f64)) == 0);
    }
}

TEST_CASE("conv2d_inference: kept filters of a pooled image, whose rows are fewer than the threads") {
  for (const std::int64_t channels : {40, 960})
    for (const std::int64_t images : {1, 2, 3}) {
      CAPTURE(channels);
      CAPTURE(images);
      const Tensor weight = random_tensor({1, 1, channels, 1280}, 2).to(DType::f32);
      const Tensor x = random_tensor({images, 1, 1, channels}, 5).to(DType::f32);
      PreparedFilters filters;
      const Tensor plain = conv2d_inference(x, weight, {}, {}, {}),
                   kept = conv2d_inference(x, weight, {}, {}, {}, &filters);
      // Sums of `channels` terms below 1 in two orders.
      CHECK(max_difference(plain.to(DType::f64), kept.to(DType::f64)) <= 1e-6 * static_cast<double>(channels));
    }
}

TEST_CASE("conv2d_inference: more padding on one side is a border of its own") {
  const Tensor x = random_tensor({2, 6, 5, 3}, 1), weight = random_tensor({3, 3, 3, 4}, 2);
  const Tensor padded = conv2d(pad(x, {.bottom = 1, .right = 2}), weight, {}, {.stride_h = 2, .stride_w = 2});
  const Conv2dOptions uneven = {.stride_h = 2, .stride_w = 2, .more_below = 1, .more_right = 2};
  CHECK(max_difference(conv2d_inference(x, weight, {}, uneven, {}), padded) == 0);
  KernelTable even = kernels(x);  // kernels that do not take it
  even.conv2d.uneven_padding = false;
  const ScopedKernels swapped(DType::f64, even);
  CHECK(max_difference(conv2d_inference(x, weight, {}, uneven, {}), padded) == 0);
  CHECK(error_message([&] { conv2d(x, weight, {}, uneven); }) ==
        "[conv2d] more padding below or on the right: only conv2d_inference takes it; use pad");
  CHECK(error_message([&] { conv2d_inference(x, weight, {}, {.pad_h = 2, .more_below = -1}, {}); }) ==
        "[conv2d_inference] -1 more rows below and 0 more columns on the right; give 0 at least, and more above or on "
        "the left by pad");
}

TEST_CASE("conv2d_inference: refuses a gradient, and operands that do not fit") {
  const Tensor x = random_tensor({1, 4, 4, 2}, 1), weight = random_tensor({3, 3, 2, 3}, 2);
  const Norm norm(3), narrow(2);
  const RunningNorm operands = norm.operands(), other = narrow.operands();
  CHECK(error_message([&] { conv2d_inference(x, weight, {}, {}, {.norm = &other}); }) ==
        "[conv2d_inference] gamma is f64 [2]; give f64 [3]");
  CHECK(error_message([&] {
          conv2d_inference(Tensor::empty({0, 4, 4, 2}, DType::f64), weight, {}, {}, {.norm = &operands});
        }) == "[conv2d] the input has the shape [0, 4, 4, 2]; give at least one image");
  CHECK(error_message([&] { conv2d_inference(x, weight, {}, {}, {.residual = x}); }) ==
        "[conv2d_inference] the residual is f64 [1, 4, 4, 2]; give f64 [1, 2, 2, 3]");
  const Tensor trained = random_tensor({3, 3, 2, 3}, 2).require_grad();
  conv2d_inference(x, trained, {}, {}, {.norm = &operands});  // nobody records
  const Tape tape;
  CHECK(error_message([&] { conv2d_inference(x, trained, {}, {}, {.norm = &operands}); }) ==
        "[conv2d_inference] a gradient is to be recorded, and it has none; use conv2d and the ops after it");
}

TEST_CASE("conv2d: known values") {
  // One row [1, 2, 3] and the filter [1, 10], padded by one on both sides.
  const std::vector<double> row{1, 2, 3}, filter{1, 10};
  const Tensor y =
      conv2d(Tensor::from<double>({1, 1, 3, 1}, row), Tensor::from<double>({1, 2, 1, 1}, filter), {}, {.pad_w = 1});
  const std::vector<double> expected{10, 21, 32, 3};
  CHECK(max_difference(y, Tensor::from<double>({1, 1, 4, 1}, expected)) == 0);
}

TEST_CASE("conv2d: gradients only where they are wanted, and nothing saved in vain") {
  const Tensor x = random_tensor({1, 4, 4, 2}, 1), weight = random_tensor({3, 3, 2, 3}, 2),
               bias = random_tensor({3}, 3);
  const Tensor with = x.clone().require_grad(), weight_with = weight.clone().require_grad();
  const Tensor bias_with = bias.clone().require_grad();
  CHECK(gradient_error([&](const auto& in) { return conv2d(in[0], weight, bias, {}); }, {x}) <= 1);
  CHECK(gradient_error([&](const auto& in) { return conv2d(x, in[0], bias, {}); }, {weight}) <= 1);
  CHECK(gradient_error([&](const auto& in) { return conv2d(x, weight, in[0], {}); }, {bias}) <= 1);
  const Tape tape;
  {
    const Tensor y = conv2d(with, weight, bias, {});
    CHECK(with.unique());  // only the weight is needed
    CHECK_FALSE(weight.unique());
    CHECK(y.unique());
  }
  {
    const Tensor y = conv2d(x, weight_with, bias, {.relu = true});
    CHECK_FALSE(x.unique());
    CHECK(weight_with.unique());
    CHECK_FALSE(y.unique());
  }
  const std::size_t before = tape.size();
  conv2d(x, weight, bias_with, {});
  CHECK(tape.size() == before + 1);
}

TEST_CASE("conv2d: shapes that do not fit are named") {
  const Tensor x = Tensor::zeros({1, 5, 5, 4}), weight = Tensor::zeros({3, 3, 4, 8});
  CHECK(error_message([&] {
          conv2d(Tensor::zeros({5, 5, 4}), weight, {}, {});
        }) == "[conv2d] the input is f32 [5, 5, 4]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([&] {
          conv2d(Tensor::zeros({1, 5, 5, 4}, DType::i64), weight, {}, {});
        }) == "[conv2d] the input is i64 [1, 5, 5, 4]; give f32, f64 or bf16 [n, h, w, c]");
  CHECK(error_message([&] { conv2d(x, {}, {}, {}); }) ==
        "[conv2d] the input is empty; give f32, f64 or bf16 [r, s, c / groups, k] for the weight");
  CHECK(error_message([&] {
          conv2d(x, Tensor::zeros({3, 3, 3, 8}), {}, {});
        }) ==
        "[conv2d] the weight f32 [3, 3, 3, 8] does not fit the input f32 [1, 5, 5, 4] in 1 groups; give "
        "[r, s, c / groups, k], k a multiple of groups, of one dtype");
  CHECK(error_message([&] {
          conv2d(x, Tensor::zeros({3, 3, 2, 5}), {}, {.groups = 2});
        }) ==
        "[conv2d] the weight f32 [3, 3, 2, 5] does not fit the input f32 [1, 5, 5, 4] in 2 groups; give "
        "[r, s, c / groups, k], k a multiple of groups, of one dtype");
  CHECK(error_message([&] { conv2d(x, weight.to(DType::f64), {}, {}); }) ==
        "[conv2d] the weight f64 [3, 3, 4, 8] does not fit the input f32 [1, 5, 5, 4] in 1 groups; give "
        "[r, s, c / groups, k], k a multiple of groups, of one dtype");
  CHECK(error_message([&] { conv2d(x, weight, Tensor::zeros({7}), {}); }) ==
        "[conv2d] the bias is f32 [7]; give f32 [8]");
  CHECK(error_message([&] { conv2d(x, weight, {}, {.pad_h = 1, .dilation_h = 4}); }) ==
        "[conv2d] the image [1, 5, 5, 4], with its padding 7 x 5, is smaller than the filter of 9 x 3; use a "
        "larger --image-size");
  CHECK(error_message([&] { conv2d(x, weight, {}, {.stride_w = 0}); }) ==
        "[conv2d] stride 1 x 0, dilation 1 x 1, padding 0 x 0, groups 1; all are at least 1, the padding at least 0");
  CHECK(error_message([&] { conv2d(x, weight, {}, {.pad_h = -1}); }) ==
        "[conv2d] stride 1 x 1, dilation 1 x 1, padding -1 x 0, groups 1; all are at least 1, the padding at least 0");
}
