#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::uniform;
using test::worst;

const PoolKernels& cpu() { return kernels_for(Device::cpu, DType::f32).pool; }
const PoolKernels& oracle() { return kernels_for(Device::reference, DType::f64).pool; }

std::int64_t input_size(const Pool2dGeometry& g) { return g.n * g.h * g.w * g.c; }
std::int64_t output_size(const Pool2dGeometry& g) { return g.n * g.p() * g.q() * g.c; }

/// Windows that can cover one input element.
std::int64_t overlap(const Pool2dGeometry& g) {
  return ((g.kernel_h + g.stride_h - 1) / g.stride_h) * ((g.kernel_w + g.stride_w - 1) / g.stride_w);
}

const std::vector<Pool2dGeometry>& shapes() {
  static const std::vector<Pool2dGeometry> all = {
      {.n = 1, .h = 1, .w = 1, .c = 1, .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1},
      {.n = 2, .h = 8, .w = 6, .c = 3},
      // ResNet's stem, InceptionV3's padded average and its unpadded stride 2.
      {.n = 2, .h = 15, .w = 14, .c = 17, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1},
      {.n = 1,
       .h = 9,
       .w = 7,
       .c = 33,
       .kernel_h = 3,
       .kernel_w = 3,
       .stride_h = 1,
       .stride_w = 1,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 3, .h = 13, .w = 11, .c = 8, .kernel_h = 3, .kernel_w = 3},
      // Ceil mode: a last window cut at the edge, and one that would start in the right padding.
      {.n = 1, .h = 6, .w = 7, .c = 16, .kernel_h = 3, .kernel_w = 3, .ceil_mode = true},
      {.n = 2, .h = 5, .w = 5, .c = 5, .pad_h = 1, .pad_w = 1, .ceil_mode = true},
      // Gaps between windows; a window that is all of the input; different rows and columns.
      {.n = 1, .h = 11, .w = 10, .c = 15, .kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 4},
      {.n = 2, .h = 7, .w = 7, .c = 9, .kernel_h = 7, .kernel_w = 7, .stride_h = 1, .stride_w = 1},
      {.n = 1,
       .h = 10,
       .w = 4,
       .c = 65,
       .kernel_h = 5,
       .kernel_w = 2,
       .stride_h = 2,
       .stride_w = 1,
       .pad_h = 2,
       .pad_w = 1},
  };
  return all;
}

void check_max(const Pool2dGeometry& g, const std::vector<float>& x) {
  const std::vector<double> x64 = test::widen(x);
  std::vector<float> y = blank<float>(output_size(g)), dx = blank<float>(input_size(g));
  std::vector<double> y64 = blank<double>(output_size(g)), dx64 = blank<double>(input_size(g)), magnitude = dx64;
  std::vector<std::int32_t> index(y.size(), -1), index64(y.size(), -1);
  cpu().max_forward({}, g, x.data(), y.data(), index.data());
  oracle().max_forward({}, g, x64.data(), y64.data(), index64.data());
  CHECK(test::count_different(y, y64) == 0);
  CHECK(index == index64);
  std::vector<float> without_index = blank<float>(output_size(g));
  cpu().max_forward({}, g, x.data(), without_index.data(), nullptr);
  CHECK(without_index == y);

  const std::vector<float> dy = uniform(output_size(g), 2);
  const std::vector<double> dy64 = test::widen(dy), magnitude_dy = test::absolute(dy64);
  cpu().max_backward({}, g, dy.data(), index.data(), dx.data());
  oracle().max_backward({}, g, dy64.data(), index64.data(), dx64.data());
  oracle().max_backward({}, g, magnitude_dy.data(), index64.data(), magnitude.data());
  CHECK(worst(dx, dx64, [&](std::size_t i) { return test::dot_tolerance(overlap(g), magnitude[i]); }) <= 1);
}

void check_average(const Pool2dGeometry& g) {
  const std::vector<float> x = uniform(input_size(g), 3), dy = uniform(output_size(g), 4);
  const std::vector<double> x64 = test::widen(x), dy64 = test::widen(dy);
  const std::vector<double> magnitude_x = test::absolute(x64), magnitude_dy = test::absolute(dy64);
  std::vector<float> y = blank<float>(output_size(g)), dx = blank<float>(input_size(g));
  std::vector<double> y64 = blank<double>(output_size(g)), dx64 = blank<double>(input_size(g));
  std::vector<double> magnitude_y = y64, magnitude_dx = dx64;
  cpu().average_forward({}, g, x.data(), y.data());
  oracle().average_forward({}, g, x64.data(), y64.data());
  oracle().average_forward({}, g, magnitude_x.data(), magnitude_y.data());
  CHECK(worst(y, y64, [&](std::size_t i) { return test::dot_tolerance(g.kernel_h + g.kernel_w, magnitude_y[i]); }) <=
        1);
  cpu().average_backward({}, g, dy.data(), dx.data());
  oracle().average_backward({}, g, dy64.data(), dx64.data());
  oracle().average_backward({}, g, magnitude_dy.data(), magnitude_dx.data());
  CHECK(worst(dx, dx64, [&](std::size_t i) { return test::dot_tolerance(overlap(g) + 1, magnitude_dx[i]); }) <= 1);
}

}  // namespace

TEST_CASE("cpu pool: max equals the oracle, index and ties included") {
  test::for_each_cpu_setting([] {
    for (const Pool2dGeometry& g : shapes()) {
      CAPTURE(g.h);
      CAPTURE(g.w);
      CAPTURE(g.c);
      check_max(g, uniform(input_size(g), 1));
      check_max(g, test::integers<float>(input_size(g), 1, 0, 2));  // nearly every window has a tie
      check_max(g,
                std::vector<float>(static_cast<std::size_t>(input_size(g)), -std::numeric_limits<float>::infinity()));
    }
  });
}

TEST_CASE("cpu pool: average equals the oracle, padding counted or not") {
  test::for_each_cpu_setting([] {
    for (Pool2dGeometry g : shapes())
      for (const bool count_include_pad : {true, false}) {
        g.count_include_pad = count_include_pad;
        CAPTURE(g.h);
        CAPTURE(g.w);
        CAPTURE(g.c);
        CAPTURE(count_include_pad);
        check_average(g);
      }
  });
}

TEST_CASE("cpu pool: adaptive equals the oracle") {
  constexpr AdaptivePoolGeometry kShapes[] = {{1, 1, 1, 1, 1, 1},  {2, 7, 7, 67, 1, 1}, {2, 7, 7, 16, 7, 7},
                                              {1, 10, 9, 5, 7, 7}, {3, 4, 5, 33, 7, 7}, {1, 3, 8, 8, 2, 3},
                                              {2, 13, 1, 3, 5, 1}};
  test::for_each_cpu_setting([&] {
    for (const AdaptivePoolGeometry& g : kShapes) {
      CAPTURE(g.h);
      CAPTURE(g.w);
      CAPTURE(g.p);
      const std::int64_t inputs = g.n * g.h * g.w * g.c, outputs = g.n * g.p * g.q * g.c;
      const std::vector<float> x = uniform(inputs, 5), dy = uniform(outputs, 6);
      const std::vector<double> x64 = test::widen(x), dy64 = test::widen(dy);
      const std::vector<double> magnitude_x = test::absolute(x64), magnitude_dy = test::absolute(dy64);
      std::vector<float> y = blank<float>(outputs), dx = blank<float>(inputs);
      std::vector<double> y64 = blank<double>(outputs), dx64 = blank<double>(inputs);
      std::vector<double> magnitude_y = y64, magnitude_dx = dx64;
      cpu().adaptive_forward({}, g, x.data(), y.data());
      oracle().adaptive_forward({}, g, x64.data(), y64.data());
      oracle().adaptive_forward({}, g, magnitude_x.data(), magnitude_y.data());
      CHECK(worst(y, y64, [&](std::size_t i) { return test::dot_tolerance(g.h + g.w, magnitude_y[i]); }) <= 1);
      cpu().adaptive_backward({}, g, dy.data(), dx.data());
      oracle().adaptive_backward({}, g, dy64.data(), dx64.data());
      oracle().adaptive_backward({}, g, magnitude_dy.data(), magnitude_dx.data());
      // At most every output covers one input.
      CHECK(worst(dx, dx64, [&](std::size_t i) { return test::dot_tolerance(g.p * g.q + 1, magnitude_dx[i]); }) <= 1);
    }
  });
}

TEST_CASE("pool: NaN is the maximum, and the first NaN is the one that gets the gradient") {
  const Pool2dGeometry g = {.n = 1, .h = 2, .w = 2, .c = 3};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Channel 0: NaN second and fourth; channel 1: NaN first; channel 2: none.
  const std::vector<float> x = {1, nan, 1, nan, 9, 2, 5, 5, 2, nan, 5, 1};
  const std::vector<float> dy = {1, 2, 3};
  test::for_each_cpu_setting([&] {
    for (const Device device : {Device::cpu, Device::reference}) {
      const PoolKernels& kernels = kernels_for(device, DType::f32).pool;
      std::vector<float> y = blank<float>(3), dx = blank<float>(12);
      std::vector<std::int32_t> index(3, -1);
      kernels.max_forward({}, g, x.data(), y.data(), index.data());
      CHECK(std::isnan(y[0]));
      CHECK(std::isnan(y[1]));
      CHECK(y[2] == 2);
      CHECK(index == std::vector<std::int32_t>{1, 0, 1});
      kernels.max_backward({}, g, dy.data(), index.data(), dx.data());
      CHECK(dx == std::vector<float>{0, 2, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0});
    }
  });
}

TEST_CASE("pool: extents follow PyTorch's rule") {
  CHECK(Pool2dGeometry{.h = 6, .kernel_h = 3, .stride_h = 2}.p() == 2);
  CHECK(Pool2dGeometry{.h = 6, .kernel_h = 3, .stride_h = 2, .ceil_mode = true}.p() == 3);
  // The fourth window would start in the right padding.
  CHECK(Pool2dGeometry{.h = 5, .kernel_h = 2, .stride_h = 2, .pad_h = 1, .ceil_mode = true}.p() == 3);
}

TEST_CASE("reference pool: by hand") {
  const PoolKernels& kernels = oracle();
  const std::vector<double> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};  // 3 x 3
  Pool2dGeometry g = {.n = 1,
                      .h = 3,
                      .w = 3,
                      .c = 1,
                      .kernel_h = 2,
                      .kernel_w = 2,
                      .stride_h = 2,
                      .stride_w = 2,
                      .pad_h = 1,
                      .pad_w = 1};  // windows {1}, {2, 3}, {4, 7}, {5, 6, 8, 9}
  std::vector<double> y = blank<double>(4), dx = blank<double>(9);
  std::vector<std::int32_t> index(4, -1);
  kernels.max_forward({}, g, x.data(), y.data(), index.data());
  CHECK(y == std::vector<double>{1, 3, 7, 9});
  CHECK(index == std::vector<std::int32_t>{0, 2, 6, 8});
  const std::vector<double> dy = {4, 8, 12, 16};
  kernels.max_backward({}, g, dy.data(), index.data(), dx.data());
  CHECK(dx == std::vector<double>{4, 0, 8, 0, 0, 0, 12, 0, 16});
  kernels.average_forward({}, g, x.data(), y.data());
  CHECK(y == std::vector<double>{0.25, 1.25, 2.75, 7});
  kernels.average_backward({}, g, dy.data(), dx.data());
  CHECK(dx == std::vector<double>{1, 2, 2, 3, 4, 4, 3, 4, 4});
  g.count_include_pad = false;
  kernels.average_forward({}, g, x.data(), y.data());
  CHECK(y == std::vector<double>{1, 2.5, 5.5, 7});
  kernels.average_backward({}, g, dy.data(), dx.data());
  CHECK(dx == std::vector<double>{4, 4, 4, 6, 4, 4, 6, 4, 4});

  const AdaptivePoolGeometry a = {.n = 1, .h = 3, .w = 3, .c = 1, .p = 2, .q = 1};  // rows {0, 1} and {1, 2}
  y = blank<double>(2);
  kernels.adaptive_forward({}, a, x.data(), y.data());
  CHECK(y == std::vector<double>{3.5, 6.5});
  const std::vector<double> da = {6, 12};
  kernels.adaptive_backward({}, a, da.data(), dx.data());
  CHECK(dx == std::vector<double>{1, 1, 1, 3, 3, 3, 2, 2, 2});
}

}  // namespace retort
