// Convolutions and matrix products of the CUDA kernels against the double reference.
#include "kernels/conv2d.h"

#include <doctest/doctest.h>

#include "kernels/cuda/table.h"
#include "tests/simt/device_buffer.h"

namespace retort {
namespace {

using test::DeviceBuffer;

/// How products are multiplied, and in what elements.
struct Arithmetic {
  const char* name;
  const KernelTable& (*table)();
  bool bf16;
  double operand_rounding;  ///< relative, of an operand that is not exact
};

const KernelTable& exact() { return kernels_for(test::device_under_test(), DType::f32); }
const KernelTable& bf16() { return kernels_for(test::device_under_test(), DType::bf16); }
const KernelTable& tf32() {
#ifdef RETORT_CUDA
  if (test::device_under_test() == Device::cuda) return cuda::table_tf32();
#endif
  return simt::table_tf32();
}

// tf32 keeps 10 bits of mantissa, rounded on the GPU to nearest: 2^-11.
const Arithmetic kArithmetics[] = {
    {"exact", exact, false, 0}, {"tf32", tf32, false, 1.0 / 2048}, {"bf16", bf16, true, 0}};

struct Case {
  const char* name;
  Conv2dGeometry geometry;
};

const Case kEdges[] = {
    {"one pixel, one channel", {}},
    {"1x1 image, 3 channels", {.n = 2, .c = 3, .k = 5}},
    {"1x1", {.n = 1, .h = 5, .w = 7, .c = 17, .k = 9}},
    {"1x1, stride 2", {.n = 2, .h = 7, .w = 6, .c = 16, .k = 24, .stride_h = 2, .stride_w = 2}},
    {"3x3", {.n = 1, .h = 6, .w = 5, .c = 8, .k = 16, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3, one channel", {.n = 1, .h = 5, .w = 5, .c = 1, .k = 1, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3, odd channels", {.n = 2, .h = 5, .w = 4, .c = 5, .k = 17, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"3x3, stride 2",
     {.n = 2, .h = 9, .w = 8, .c = 8, .k = 12, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
    {"3x3, stride 2, no padding",
     {.n = 1, .h = 9, .w = 8, .c = 4, .k = 8, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2}},
    {"3x3, stride 3 beyond the filter's reach",
     {.n = 1, .h = 11, .w = 10, .c = 3, .k = 4, .r = 2, .s = 2, .stride_h = 3, .stride_w = 3}},
    {"stem 7x7",
     {.n = 1, .h = 13, .w = 14, .c = 3, .k = 8, .r = 7, .s = 7, .stride_h = 2, .stride_w = 2, .pad_h = 3, .pad_w = 3}},
    {"5x5", {.n = 1, .h = 7, .w = 7, .c = 6, .k = 8, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"1x7", {.n = 1, .h = 5, .w = 9, .c = 16, .k = 24, .r = 1, .s = 7, .pad_w = 3}},
    {"7x1", {.n = 1, .h = 9, .w = 5, .c = 16, .k = 24, .r = 7, .s = 1, .pad_h = 3}},
    {"dilation 2",
     {.n = 1,
      .h = 9,
      .w = 8,
      .c = 7,
      .k = 6,
      .r = 3,
      .s = 3,
      .pad_h = 2,
      .pad_w = 2,
      .dilation_h = 2,
      .dilation_w = 2}},
    {"dilation 2, stride 2: taps of one parity only",
     {.n = 1,
      .h = 9,
      .w = 10,
      .c = 4,
      .k = 6,
      .r = 3,
      .s = 3,
      .stride_h = 2,
      .stride_w = 2,
      .pad_h = 2,
      .pad_w = 1,
      .dilation_h = 2,
      .dilation_w = 2}},
    {"dilation 3, stride 2",
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
    {"asymmetric", {.n = 2, .h = 11, .w = 7, .c = 5, .k = 7, .r = 3, .s = 2, .stride_h = 2, .pad_w = 2}},
    {"two groups", {.n = 2, .h = 4, .w = 5, .c = 16, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 2}},
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
    {"depthwise", {.n = 1, .h = 5, .w = 6, .c = 10, .k = 10, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 10}},
    {"image smaller than the filter", {.n = 2, .h = 2, .w = 3, .c = 4, .k = 5, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"padding wider than the image", {.n = 1, .c = 3, .k = 4, .r = 3, .s = 3, .pad_h = 3, .pad_w = 3}},
    {"several tiles", {.n = 1, .h = 12, .w = 13, .c = 12, .k = 130, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"deep: split along k", {.n = 1, .h = 2, .w = 2, .c = 1100, .k = 8}},
    {"many pixels: wgrad split along k", {.n = 2, .h = 32, .w = 33, .c = 4, .k = 8}},
};

/// The distinct convolutions of the three networks, channels divided by 16 and images cut down: what differs in kind.
const Case kLayers[] = {
    {"vgg16 conv1_1", {.n = 1, .h = 14, .w = 14, .c = 3, .k = 4, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"vgg16 conv2_1", {.n = 1, .h = 14, .w = 14, .c = 4, .k = 8, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"vgg16 conv4_1", {.n = 1, .h = 7, .w = 7, .c = 16, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"vgg16 conv5", {.n = 1, .h = 7, .w = 7, .c = 32, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
    {"resnet50 reduce", {.n = 1, .h = 7, .w = 7, .c = 16, .k = 4}},
    {"resnet50 expand", {.n = 1, .h = 7, .w = 7, .c = 4, .k = 16}},
    {"resnet50 downsample", {.n = 1, .h = 14, .w = 14, .c = 16, .k = 32, .stride_h = 2, .stride_w = 2}},
    {"resnet50 3x3 stride 2",
     {.n = 1, .h = 14, .w = 14, .c = 8, .k = 8, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
    {"inception 1a", {.n = 1, .h = 15, .w = 15, .c = 3, .k = 2, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2}},
    {"inception 2a", {.n = 1, .h = 9, .w = 9, .c = 2, .k = 2, .r = 3, .s = 3}},
    {"inception 4a", {.n = 1, .h = 9, .w = 9, .c = 5, .k = 12, .r = 3, .s = 3}},
    {"inception A 5x5", {.n = 1, .h = 9, .w = 9, .c = 3, .k = 4, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2}},
    {"inception B 3x3 stride 2",
     {.n = 1, .h = 9, .w = 9, .c = 18, .k = 24, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2}},
    {"inception C 1x7", {.n = 1, .h = 7, .w = 7, .c = 8, .k = 8, .r = 1, .s = 7, .pad_w = 3}},
    {"inception C 7x1", {.n = 1, .h = 7, .w = 7, .c = 10, .k = 12, .r = 7, .s = 1, .pad_h = 3}},
    {"inception E 1x3", {.n = 1, .h = 4, .w = 4, .c = 24, .k = 24, .r = 1, .s = 3, .pad_w = 1}},
    {"inception E 3x1", {.n = 1, .h = 4, .w = 4, .c = 24, .k = 24, .r = 3, .s = 1, .pad_h = 1}},
    {"inception aux 5x5", {.n = 1, .h = 5, .w = 5, .c = 8, .k = 48, .r = 5, .s = 5}},
};

struct Operands {
  Conv2dGeometry g;
  std::vector<float> x, w, dy, bias, scale;
};

/// Small integers, or reals that an operand of the arithmetic holds exactly if it is bf16.
Operands operands(const Conv2dGeometry& g, bool whole, bool bf16) {
  const std::int64_t sizes[] = {g.n * g.h * g.w * g.c, g.r * g.s * g.c_per_group() * g.k, g.n * g.p() * g.q() * g.k,
                                g.k, g.k};
  std::vector<float> values[5];
  for (std::size_t i = 0; i < 5; ++i) {
    values[i] = whole ? test::integers<float>(sizes[i], i + 1, -3, 3) : test::uniform(sizes[i], i + 1);
    if (bf16)
      for (float& value : values[i]) value = BFloat16(value);
  }
  return {g, values[0], values[1], values[2], values[3], values[4]};
}

/// y_normalized has all of an epilogue, dy being the residual too.
struct Outputs {
  std::vector<double> y, y_bias_relu, y_normalized, dx, dw;
};

Outputs reference(const Operands& o) {
  const Conv2dKernels& conv = kernels_for(Device::reference, DType::f64).conv2d;
  const auto x = test::widen(o.x), w = test::widen(o.w), dy = test::widen(o.dy), bias = test::widen(o.bias),
             scale = test::widen(o.scale);
  const std::vector<double> like_y(dy.size());
  Outputs r{like_y, like_y, like_y, std::vector<double>(x.size()), std::vector<double>(w.size())};
  conv.fprop({}, o.g, x.data(), w.data(), {}, r.y.data(), nullptr);
  conv.fprop({}, o.g, x.data(), w.data(), {.bias = bias.data(), .relu = true}, r.y_bias_relu.data(), nullptr);
  conv.fprop({}, o.g, x.data(), w.data(), {scale.data(), bias.data(), dy.data(), /*relu=*/true}, r.y_normalized.data(),
             nullptr);
  conv.dgrad({}, o.g, dy.data(), w.data(), r.dx.data(), nullptr);
  conv.wgrad({}, o.g, x.data(), dy.data(), r.dw.data(), nullptr);
  return r;
}

/// T: of the operands and of y and dx; dw and the bias are f32.
template <class T>
Outputs on_device(const KernelTable& table, const Operands& o) {
  const Conv2dKernels& conv = table.conv2d;
  const DeviceBuffer<T> x(test::as<T>(o.x)), w(test::as<T>(o.w)), dy(test::as<T>(o.dy));
  const DeviceBuffer<float> bias(o.bias), scale(o.scale), dw(o.w.size());
  const DeviceBuffer<T> y(o.dy.size()), y_bias_relu(o.dy.size()), y_normalized(o.dy.size()), dx(o.x.size());
  const auto workspace = [&](ConvPass pass) { return DeviceBuffer<char>(conv.workspace_bytes(pass, o.g)); };
  const DeviceBuffer<char> forward = workspace(ConvPass::fprop), data = workspace(ConvPass::dgrad),
                           filter = workspace(ConvPass::wgrad);
  conv.fprop({}, o.g, x.get(), w.get(), {}, y.get(), forward.get());
  conv.fprop({}, o.g, x.get(), w.get(), {.bias = bias.get(), .relu = true}, y_bias_relu.get(), forward.get());
  conv.fprop({}, o.g, x.get(), w.get(), {scale.get(), bias.get(), dy.get(), /*relu=*/true}, y_normalized.get(),
             forward.get());
  conv.dgrad({}, o.g, dy.get(), w.get(), dx.get(), data.get());
  conv.wgrad({}, o.g, x.get(), dy.get(), dw.get(), filter.get());
  return {test::wide(y.values()), test::wide(y_bias_relu.values()), test::wide(y_normalized.values()),
          test::wide(dx.values()), test::wide(dw.values())};
}

Outputs on_device(const Arithmetic& arithmetic, const Operands& o) {
  return arithmetic.bf16 ? on_device<BFloat16>(arithmetic.table(), o) : on_device<float>(arithmetic.table(), o);
}

/// What a result in bf16 is rounded to.
std::vector<double> rounded(std::vector<double> values, bool bf16) {
  if (bf16)
    for (double& value : values) value = double{float{BFloat16(static_cast<float>(value))}};
  return values;
}

void check_whole(const Case& shape) {
  CAPTURE(std::string(shape.name));
  for (const Arithmetic& arithmetic : kArithmetics) {
    CAPTURE(std::string(arithmetic.name));
    const Operands o = operands(shape.geometry, true, arithmetic.bf16);
    const Outputs expected = reference(o), found = on_device(arithmetic, o);
    CHECK(test::count_different(found.y, rounded(expected.y, arithmetic.bf16)) == 0);
    CHECK(test::count_different(found.y_bias_relu, rounded(expected.y_bias_relu, arithmetic.bf16)) == 0);
    CHECK(test::count_different(found.y_normalized, rounded(expected.y_normalized, arithmetic.bf16)) == 0);
    CHECK(test::count_different(found.dx, rounded(expected.dx, arithmetic.bf16)) == 0);
    CHECK(test::count_different(found.dw, expected.dw) == 0);
  }
}

}  // namespace

TEST_CASE("device conv2d: small integers are exact, in every pass, arithmetic and order of threads") {
  for (const Case& shape : kEdges) check_whole(shape);
  test::for_each_order([] {
    for (const std::size_t i : {4u, 7u, 12u, 18u}) check_whole(kEdges[i]);
  });
}

TEST_CASE("device conv2d: small integers are exact in the three networks' layers") {
  for (const Case& shape : kLayers) check_whole(shape);
}

TEST_CASE("device conv2d: real values are within the bound of a dot product, run to run the same bits") {
  const Conv2dGeometry g = {
      .n = 2, .h = 9, .w = 10, .c = 20, .k = 36, .r = 3, .s = 3, .stride_h = 2, .stride_w = 1, .pad_h = 1, .pad_w = 1};
  for (const Arithmetic& arithmetic : kArithmetics) {
    CAPTURE(std::string(arithmetic.name));
    const Operands o = operands(g, false, arithmetic.bf16);
    Operands magnitudes = o;
    for (auto* values : {&magnitudes.x, &magnitudes.w, &magnitudes.dy, &magnitudes.bias, &magnitudes.scale})
      for (float& value : *values) value = std::fabs(value);
    const Outputs expected = reference(o), magnitude = reference(magnitudes), found = on_device(arithmetic, o);
    const auto holds = [&](const std::vector<double>& result, const std::vector<double>& oracle,
                           const std::vector<double>& bound, std::int64_t terms, bool rounded) {
      return test::worst(result, oracle, [&](std::size_t i) {
               return test::dot_tolerance(terms, bound[i]) + 2.01 * arithmetic.operand_rounding * bound[i] +
                      (rounded ? test::epsilon_of<BFloat16> / 2 * std::fabs(oracle[i]) * 1.01 : 0);
             }) <= 1;
    };
    const std::int64_t taps = g.r * g.s;
    CHECK(holds(found.y, expected.y, magnitude.y, taps * g.c, arithmetic.bf16));
    CHECK(holds(found.y_bias_relu, expected.y_bias_relu, magnitude.y_bias_relu, taps * g.c, arithmetic.bf16));
    CHECK(holds(found.y_normalized, expected.y_normalized, magnitude.y_normalized, taps * g.c + 2, arithmetic.bf16));
    CHECK(holds(found.dx, expected.dx, magnitude.dx, taps * g.k, arithmetic.bf16));
    CHECK(holds(found.dw, expected.dw, magnitude.dw, g.n * g.p() * g.q(), false));
    test::for_each_order([&] {
      const Outputs again = on_device(arithmetic, o);
      CHECK(again.y == found.y);
      CHECK(again.dx == found.dx);
      CHECK(again.dw == found.dw);
    });
  }
}

TEST_CASE("device gemm: every transposition, small integers exact") {
  const GemmKernels& oracle = kernels_for(Device::reference, DType::f64).gemm;
  const std::int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {64, 64, 32}, {65, 130, 40}, {10, 9, 700}};
  for (const Arithmetic& arithmetic : kArithmetics)
    for (const auto& size : sizes)
      for (const bool ta : {false, true})
        for (const bool tb : {false, true})
          for (const bool parameter : {false, true}) {
            const std::int64_t m = size[0], n = size[1], k = size[2];
            // Only gradients of weights, A transposed, are parameters.
            if (parameter && !(ta && !tb)) continue;
            CAPTURE(std::string(arithmetic.name));
            CAPTURE(m);
            CAPTURE(n);
            CAPTURE(k);
            CAPTURE(ta);
            CAPTURE(tb);
            const GemmGeometry g{
                .m = m, .n = n, .k = k, .transpose_a = ta, .transpose_b = tb, .parameter_c = parameter};
            const auto a = test::integers<float>(m * k, 1, -3, 3), b = test::integers<float>(k * n, 2, -3, 3),
                       bias = test::integers<float>(n, 3, -9, 9);
            std::vector<double> expected(static_cast<std::size_t>(m * n));
            oracle.run({}, g, test::widen(a).data(), test::widen(b).data(), test::widen(bias).data(), true,
                       expected.data(), nullptr);
            const GemmKernels& gemm = arithmetic.table().gemm;
            const DeviceBuffer<char> workspace(gemm.workspace_bytes(g));
            const DeviceBuffer<float> bias_there(bias);
            const auto run = [&](auto zero, auto out) {
              using T = decltype(zero);
              using Out = decltype(out);
              const DeviceBuffer<T> left(test::as<T>(a)), right(test::as<T>(b));
              const DeviceBuffer<Out> c(expected.size());
              gemm.run({}, g, left.get(), right.get(), bias_there.get(), true, c.get(), workspace.get());
              return test::wide(c.values());
            };
            const std::vector<double> found = !arithmetic.bf16 ? run(float{}, float{})
                                              : parameter      ? run(BFloat16(0.0f), float{})
                                                               : run(BFloat16(0.0f), BFloat16(0.0f));
            CHECK(test::count_different(found, rounded(expected, arithmetic.bf16 && !parameter)) == 0);
          }
}

}  // namespace retort
