#include "kernels/conv2d.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "tests/element_types.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using Buffer = std::vector<float>;

std::int64_t x_size(const Conv2dGeometry& g) { return g.n * g.h * g.w * g.c; }
std::int64_t w_size(const Conv2dGeometry& g) { return g.r * g.s * g.c_per_group() * g.k; }
std::int64_t y_size(const Conv2dGeometry& g) { return g.n * g.p() * g.q() * g.k; }

struct Operands {
  Conv2dGeometry geometry;
  Buffer x, w, dy, bias, scale;
};

/// As T holds them.
template <class T, class Draw>
Operands make_operands(const Conv2dGeometry& g, Draw draw) {
  const auto fill = [&](std::int64_t size) {
    Buffer values(static_cast<std::size_t>(size));
    for (float& value : values) value = float(T(draw()));
    return values;
  };
  return {g, fill(x_size(g)), fill(w_size(g)), fill(y_size(g)), fill(g.k), fill(g.k)};
}

struct Outputs {
  std::vector<double> y, y_bias_relu, y_normalized, dx, dw;  ///< y_normalized: with all that an epilogue has
};

/// T: of the operands, y and dx; P: of dw, the bias and the scale. dy is the residual too.
template <class T, class P>
Outputs run_passes(const Operands& o, const Conv2dKernels& conv) {
  const Conv2dGeometry& g = o.geometry;
  const auto elements = [](const Buffer& values) {
    std::vector<T> result;
    for (const float value : values) result.push_back(T(value));
    return result;
  };
  const std::vector<T> x = elements(o.x), w = elements(o.w), dy = elements(o.dy);
  const std::vector<P> bias(o.bias.begin(), o.bias.end()), scale(o.scale.begin(), o.scale.end());
  std::vector<T> y = test::unwritten<T>(dy.size()), y_bias_relu = y, y_normalized = y,
                 dx = test::unwritten<T>(x.size());
  std::vector<P> dw = test::unwritten<P>(w.size());
  const auto workspace = [&](ConvPass pass) { return test::unwritten_workspace(conv.workspace_bytes(pass, g)); };
  conv.fprop({}, g, x.data(), w.data(), {}, y.data(), workspace(ConvPass::fprop).data());
  conv.fprop({}, g, x.data(), w.data(), {.bias = bias.data(), .relu = true}, y_bias_relu.data(),
             workspace(ConvPass::fprop).data());
  conv.fprop({}, g, x.data(), w.data(), {scale.data(), bias.data(), dy.data(), /*relu=*/true}, y_normalized.data(),
             workspace(ConvPass::fprop).data());
  conv.dgrad({}, g, dy.data(), w.data(), dx.data(), workspace(ConvPass::dgrad).data());
  conv.wgrad({}, g, x.data(), dy.data(), dw.data(), workspace(ConvPass::wgrad).data());
  return {test::wide(y), test::wide(y_bias_relu), test::wide(y_normalized), test::wide(dx), test::wide(dw)};
}

template <class T>
Outputs run_cpu(const Operands& o) {
  return run_passes<T, float>(o, kernels_for(Device::cpu, test::dtype_of<T>).conv2d);
}

Outputs run_reference(const Operands& o) {
  return run_passes<double, double>(o, kernels_for(Device::reference, DType::f64).conv2d);
}

/// T: what the results are rounded to.
template <class T>
std::int64_t count_outside(const std::vector<double>& found, const std::vector<double>& expected,
                           const std::vector<double>& magnitude, std::int64_t length) {
  std::int64_t outside = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    outside += !(std::fabs(found[i] - expected[i]) <=
                 test::dot_tolerance(length, magnitude[i]) + test::epsilon_of<T> / 2 * std::fabs(expected[i]) * 1.01);
  return outside;
}

struct Shape {
  const char* name;
  Conv2dGeometry geometry;
};

const Shape kShapes[] = {
    {"1x1", {.n = 2, .h = 5, .w = 7, .c = 33, .k = 19}},
    {"1x1, one pixel, one channel", {}},
    {"1x1, depth packed in several goes", {.n = 1, .h = 6, .w = 6, .c = 2100, .k = 130}},
    {"1x1 stride 2", {.n = 2, .h = 7, .w = 6, .c = 16, .k = 32, .stride_h = 2, .stride_w = 2}},
    {"1x1 with padding", {.n = 1, .h = 3, .w = 4, .c = 5, .k = 3, .pad_h = 1, .pad_w = 2}},
    {"3x3", {.n = 2, .h = 9, .w = 8, .c = 17, .k = 31, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3 valid", {.n = 1, .h = 6, .w = 5, .c = 8, .k = 48, .r = 3, .s = 3}},
    {"3x3, more depth than a block",
     {.n = 1, .h = 5, .w = 5, .c = 64, .k = 33, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3, more rows than a block", {.n = 3, .h = 17, .w = 19, .c = 3, .k = 8, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3 stride 2",
     {.n = 2, .h = 9, .w = 8, .c = 6, .k = 16, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
    {"3x3 stride 3",
     {.n = 1, .h = 11, .w = 10, .c = 4, .k = 9, .r = 3, .s = 3, .stride_h = 3, .stride_w = 3, .pad_h = 1, .pad_w = 1}},
    {"2x2 stride 3: pixels that nothing reads",
     {.n = 1, .h = 8, .w = 9, .c = 4, .k = 5, .r = 2, .s = 2, .stride_h = 3, .stride_w = 3}},
    {"5x5", {.n = 1, .h = 8, .w = 9, .c = 10, .k = 12, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"7x7 stride 2 pad 3, three channels",
     {.n = 2, .h = 21, .w = 20, .c = 3, .k = 64, .r = 7, .s = 7, .stride_h = 2, .stride_w = 2, .pad_h = 3, .pad_w = 3}},
    {"1x7", {.n = 1, .h = 6, .w = 9, .c = 12, .k = 20, .r = 1, .s = 7, .pad_w = 3}},
    {"7x1", {.n = 1, .h = 9, .w = 6, .c = 12, .k = 20, .r = 7, .s = 1, .pad_h = 3}},
    {"asymmetric stride and padding",
     {.n = 2, .h = 11, .w = 7, .c = 5, .k = 7, .r = 3, .s = 2, .stride_h = 2, .stride_w = 1, .pad_h = 0, .pad_w = 2}},
    {"dilation 2",
     {.n = 1,
      .h = 9,
      .w = 10,
      .c = 7,
      .k = 6,
      .r = 3,
      .s = 3,
      .pad_h = 2,
      .pad_w = 2,
      .dilation_h = 2,
      .dilation_w = 2}},
    {"dilation 2 with stride 2: taps of one parity only",
     {.n = 1,
      .h = 9,
      .w = 10,
      .c = 7,
      .k = 6,
      .r = 3,
      .s = 3,
      .stride_h = 2,
      .stride_w = 2,
      .pad_h = 2,
      .pad_w = 1,
      .dilation_h = 2,
      .dilation_w = 2}},
    {"dilation 3 with stride 2",
     {.n = 1,
      .h = 13,
      .w = 12,
      .c = 4,
      .k = 6,
      .r = 3,
      .s = 2,
      .stride_h = 2,
      .stride_w = 2,
      .pad_h = 3,
      .pad_w = 1,
      .dilation_h = 3,
      .dilation_w = 3}},
    {"two groups", {.n = 2, .h = 6, .w = 5, .c = 16, .k = 24, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 2}},
    {"three groups, stride 2",
     {.n = 1,
      .h = 7,
      .w = 8,
      .c = 9,
      .k = 6,
      .r = 3,
      .s = 3,
      .stride_h = 2,
      .stride_w = 2,
      .pad_h = 1,
      .pad_w = 1,
      .groups = 3}},
    {"depthwise", {.n = 1, .h = 6, .w = 7, .c = 10, .k = 10, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 10}},
    {"depthwise with multiplier 2",
     {.n = 1, .h = 6, .w = 7, .c = 5, .k = 10, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 5}},
    {"image smaller than the kernel", {.n = 2, .h = 2, .w = 3, .c = 4, .k = 5, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"padding wider than the image", {.n = 1, .h = 1, .w = 1, .c = 3, .k = 4, .r = 3, .s = 3, .pad_h = 3, .pad_w = 3}},
    {"many columns", {.n = 1, .h = 4, .w = 3, .c = 9, .k = 130, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
};

}  // namespace

TEST_CASE("cpu conv2d: small integers are exact in every pass") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    std::mt19937 random(1);
    for (const Shape& shape : kShapes) {
      CAPTURE(std::string(shape.name));
      const Operands operands =
          make_operands<T>(shape.geometry, [&] { return static_cast<float>(static_cast<int>(random() % 7) - 3); });
      const Outputs expected = run_reference(operands);
      test::for_each_cpu_setting([&] {
        const Outputs found = run_cpu<T>(operands);
        CHECK(test::count_different(found.y, test::rounded<T>(expected.y)) == 0);
        CHECK(test::count_different(found.y_bias_relu, test::rounded<T>(expected.y_bias_relu)) == 0);
        CHECK(test::count_different(found.y_normalized, test::rounded<T>(expected.y_normalized)) == 0);
        CHECK(test::count_different(found.dx, test::rounded<T>(expected.dx)) == 0);
        CHECK(test::count_different(found.dw, expected.dw) == 0);
      });
    }
  });
}

TEST_CASE("cpu conv2d: real values are within the bound of a dot product, run to run the same bits") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    const Conv2dGeometry g = {
        .n = 3, .h = 14, .w = 13, .c = 20, .k = 37, .r = 3, .s = 3, .stride_h = 2, .pad_h = 1, .pad_w = 1};
    const Operands operands = make_operands<T>(g, [&] { return normal(random); });
    Operands absolute = operands;
    for (Buffer* values : {&absolute.x, &absolute.w, &absolute.dy, &absolute.bias, &absolute.scale})
      for (float& value : *values) value = std::fabs(value);
    const Outputs expected = run_reference(operands), magnitude = run_reference(absolute);
    const std::int64_t taps = g.r * g.s, positions = g.n * g.p() * g.q();
    test::for_each_cpu_setting([&] {
      const Outputs found = run_cpu<T>(operands);
      CHECK(count_outside<T>(found.y, expected.y, magnitude.y, taps * g.c) == 0);
      CHECK(count_outside<T>(found.y_bias_relu, expected.y_bias_relu, magnitude.y_bias_relu, taps * g.c) == 0);
      CHECK(count_outside<T>(found.y_normalized, expected.y_normalized, magnitude.y_normalized, taps * g.c + 2) == 0);
      CHECK(count_outside<T>(found.dx, expected.dx, magnitude.dx, taps * g.k) == 0);
      CHECK(count_outside<float>(found.dw, expected.dw, magnitude.dw, positions) == 0);
      const Outputs again = run_cpu<T>(operands);
      CHECK(test::count_different(again.y, found.y) == 0);
      CHECK(test::count_different(again.dx, found.dx) == 0);
      CHECK(test::count_different(again.dw, found.dw) == 0);
    });
  });
}

TEST_CASE("cpu conv2d in bf16: a sample's result does not depend on the batch around it") {
  // One image has few rows, which take other blocks than many.
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const Conv2dGeometry g = {.n = 9, .h = 4, .w = 5, .c = 130, .k = 70, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1};
  const Operands operands = make_operands<BFloat16>(g, [&] { return normal(random); });
  Operands alone = operands;
  alone.geometry.n = 1;
  for (Buffer* values : {&alone.x, &alone.dy}) values->resize(values->size() / 9);
  test::for_each_cpu_setting([&] {
    Outputs all = run_cpu<BFloat16>(operands);
    const Outputs one = run_cpu<BFloat16>(alone);
    all.y.resize(one.y.size());
    all.dx.resize(one.dx.size());
    CHECK(test::count_different(one.y, all.y) == 0);
    CHECK(test::count_different(one.dx, all.dx) == 0);
  });
}

}  // namespace retort
