// Max, average and adaptive average pooling on any backend.
#pragma once

#include <limits>

#include "tests/cases/backend.h"

namespace retort::test {
namespace pool_cases {

struct Shape {
  Pool2dGeometry geometry;
  Work work = Work::usual;
};
inline const Shape kShapes[] = {
    {{.n = 1, .h = 1, .w = 1, .c = 1, .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1}, Work::little},
    {{.n = 2, .h = 8, .w = 6, .c = 3}},
    {{.n = 2, .h = 4, .w = 6, .c = 3}},
    // ResNet's stem, InceptionV3's padded average and its unpadded stride 2.
    {{.n = 2, .h = 15, .w = 14, .c = 17, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}},
    {{.n = 1, .h = 7, .w = 5, .c = 33, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}},
    {{.n = 1, .h = 7, .w = 5, .c = 8, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}, Work::little},
    {{.n = 1,
      .h = 9,
      .w = 7,
      .c = 33,
      .kernel_h = 3,
      .kernel_w = 3,
      .stride_h = 1,
      .stride_w = 1,
      .pad_h = 1,
      .pad_w = 1}},
    {{.n = 1,
      .h = 7,
      .w = 7,
      .c = 16,
      .kernel_h = 3,
      .kernel_w = 3,
      .stride_h = 1,
      .stride_w = 1,
      .pad_h = 1,
      .pad_w = 1}},
    {{.n = 3, .h = 13, .w = 11, .c = 8, .kernel_h = 3, .kernel_w = 3}},
    // Ceil mode: a last window cut at the edge, and one that would start in the right padding.
    {{.n = 1, .h = 6, .w = 7, .c = 16, .kernel_h = 3, .kernel_w = 3, .ceil_mode = true}},
    {{.n = 2, .h = 6, .w = 7, .c = 5, .kernel_h = 3, .kernel_w = 2, .stride_h = 2, .stride_w = 3, .ceil_mode = true}},
    {{.n = 2, .h = 5, .w = 5, .c = 5, .pad_h = 1, .pad_w = 1, .ceil_mode = true}},
    // Gaps between windows; a window that is all of the input; different rows and columns; more channels than a strip.
    {{.n = 1, .h = 11, .w = 10, .c = 15, .kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 4}},
    {{.n = 1, .h = 9, .w = 9, .c = 2, .kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 3}},
    {{.n = 2, .h = 7, .w = 7, .c = 9, .kernel_h = 7, .kernel_w = 7, .stride_h = 1, .stride_w = 1}},
    {{.n = 1,
      .h = 10,
      .w = 4,
      .c = 65,
      .kernel_h = 5,
      .kernel_w = 2,
      .stride_h = 2,
      .stride_w = 1,
      .pad_h = 2,
      .pad_w = 1}},
    {{.n = 1, .h = 5, .w = 4, .c = 1100, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1}, Work::much},
};

struct AdaptiveShape {
  AdaptivePoolGeometry geometry;
  Work work = Work::usual;
};
inline constexpr AdaptiveShape kAdaptiveShapes[] = {
    {{1, 1, 1, 1, 1, 1}},  {{2, 7, 7, 67, 1, 1}}, {{2, 7, 5, 8, 1, 1}, Work::little},
    {{2, 7, 7, 16, 7, 7}}, {{1, 8, 8, 16, 8, 8}}, {{1, 10, 9, 5, 7, 7}},
    {{3, 4, 5, 33, 7, 7}}, {{1, 2, 3, 4, 7, 7}},  {{1, 3, 8, 8, 2, 3}},
    {{1, 7, 7, 3, 3, 2}},  {{2, 13, 1, 3, 5, 1}}};

inline std::int64_t input_size(const Pool2dGeometry& g) { return g.n * g.h * g.w * g.c; }
inline std::int64_t output_size(const Pool2dGeometry& g) { return g.n * g.p() * g.q() * g.c; }

/// Windows that can cover one input element.
inline std::int64_t overlap(const Pool2dGeometry& g) {
  return ((g.kernel_h + g.stride_h - 1) / g.stride_h) * ((g.kernel_w + g.stride_w - 1) / g.stride_w);
}

/// `found` against sums in float of at most `terms` elements whose absolute values add up to `magnitude`.
template <class T>
bool sums_hold(const Buffer<T>& found, const std::vector<double>& expected, const std::vector<double>& magnitude,
               std::int64_t terms) {
  return float_holds(found.values(), expected, [&](std::size_t i) { return dot_tolerance(terms, magnitude[i]); });
}

template <class T>
void check_max(const Backend& backend, const PoolKernels& kernel, const Shape& shape, const std::vector<float>& drawn) {
  const Pool2dGeometry& g = shape.geometry;
  const std::vector<T> x = as<T>(drawn), dy = as<T>(uniform(output_size(g), 2));
  std::vector<double> y64 = blank<double>(output_size(g)), dx64 = blank<double>(input_size(g)), magnitude = dx64;
  std::vector<std::int32_t> index64(dy.size(), -1);
  const PoolKernels& reference = oracle().pool;
  reference.max_forward({}, g, wide(x).data(), y64.data(), index64.data());
  reference.max_backward({}, g, wide(dy).data(), index64.data(), dx64.data());
  reference.max_backward({}, g, absolute(wide(dy)).data(), index64.data(), magnitude.data());
  const Buffer<T> in(backend, x), gradient(backend, dy);
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(shape.work)) return;
    const Buffer<T> y(backend, dy.size()), without_index(backend, dy.size()), dx(backend, x.size());
    const Buffer<std::int32_t> index(backend, dy.size());
    kernel.max_forward({}, g, in.get(), y.get(), index.get());
    CHECK(count_different(y.wide(), y64) == 0);
    CHECK(index.values() == index64);
    kernel.max_forward({}, g, in.get(), without_index.get(), nullptr);
    CHECK(count_different(without_index.wide(), y64) == 0);
    kernel.max_backward({}, g, gradient.get(), index.get(), dx.get());
    CHECK(sums_hold(dx, dx64, magnitude, overlap(g)));
  });
}

/// Averages of one kind of geometry and their gradient: forward(kernels, x, y) and backward(kernels, dy, dx); sums of
/// absolute values bound their errors.
template <class T, class Forward, class Backward>
void check_average(const Backend& backend, const PoolKernels& kernel, Work work, std::int64_t inputs,
                   std::int64_t outputs, std::int64_t roundings, std::int64_t roundings_back, const Forward& forward,
                   const Backward& backward) {
  const std::vector<T> x = as<T>(uniform(inputs, 3)), dy = as<T>(uniform(outputs, 4));
  std::vector<double> y64 = blank<double>(outputs), dx64 = blank<double>(inputs), magnitude_y = y64,
                      magnitude_dx = dx64;
  const PoolKernels& reference = oracle().pool;
  forward(reference, wide(x).data(), y64.data());
  forward(reference, absolute(wide(x)).data(), magnitude_y.data());
  backward(reference, wide(dy).data(), dx64.data());
  backward(reference, absolute(wide(dy)).data(), magnitude_dx.data());
  const Buffer<T> in(backend, x), gradient(backend, dy);
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    const Buffer<T> y(backend, dy.size()), dx(backend, x.size());
    forward(kernel, in.get(), y.get());
    backward(kernel, gradient.get(), dx.get());
    CHECK(sums_hold(y, y64, magnitude_y, roundings));
    CHECK(sums_hold(dx, dx64, magnitude_dx, roundings_back));
  });
}

/// Runs check(zero, kernels, shape) for the shapes that the backend affords.
template <class Shapes, class Check>
void for_each_shape(const Backend& backend, const Shapes& shapes, const Check& check) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    for (const auto& shape : shapes) {
      if (shape.work > backend.work) continue;
      CAPTURE(shape.geometry.h);
      CAPTURE(shape.geometry.w);
      CAPTURE(shape.geometry.c);
      check(zero, table.pool, shape);
    }
  });
}

inline void max(const Backend& backend) {
  for_each_shape(backend, kShapes, [&](auto zero, const PoolKernels& kernel, const Shape& shape) {
    using T = decltype(zero);
    const std::int64_t n = input_size(shape.geometry);
    check_max<T>(backend, kernel, shape, uniform(n, 1));
    check_max<T>(backend, kernel, shape, integers<float>(n, 1, 0, 2));  // nearly every window has a tie
    check_max<T>(backend, kernel, shape,
                 std::vector<float>(static_cast<std::size_t>(n), -std::numeric_limits<float>::infinity()));
  });
}

inline void average(const Backend& backend) {
  for_each_shape(backend, kShapes, [&](auto zero, const PoolKernels& kernel, const Shape& shape) {
    for (const bool count_include_pad : {true, false}) {
      CAPTURE(count_include_pad);
      Pool2dGeometry g = shape.geometry;
      g.count_include_pad = count_include_pad;
      check_average<decltype(zero)>(
          backend, kernel, shape.work, input_size(g), output_size(g),
          backend.arithmetic.window_roundings(g.kernel_h, g.kernel_w), overlap(g) + 1,
          [&](const PoolKernels& kernels, const void* x, void* y) { kernels.average_forward({}, g, x, y); },
          [&](const PoolKernels& kernels, const void* dy, void* dx) { kernels.average_backward({}, g, dy, dx); });
    }
  });
}

inline void adaptive(const Backend& backend) {
  for_each_shape(backend, kAdaptiveShapes, [&](auto zero, const PoolKernels& kernel, const AdaptiveShape& shape) {
    const AdaptivePoolGeometry& g = shape.geometry;
    CAPTURE(g.p);
    // At most every output covers one input.
    check_average<decltype(zero)>(
        backend, kernel, shape.work, g.n * g.h * g.w * g.c, g.n * g.p * g.q * g.c,
        backend.arithmetic.window_roundings(g.h, g.w), g.p * g.q + 1,
        [&](const PoolKernels& kernels, const void* x, void* y) { kernels.adaptive_forward({}, g, x, y); },
        [&](const PoolKernels& kernels, const void* dy, void* dx) { kernels.adaptive_backward({}, g, dy, dx); });
  });
}

inline void nan(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const Pool2dGeometry g = {.n = 1, .h = 2, .w = 2, .c = 3};
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for_each_mode(backend, [&](const Mode&) {
      // Channel 0: NaN second and fourth; channel 1: NaN first; channel 2: none.
      const Buffer<T> x(backend, as<T>(std::vector<float>{1, nan, 1, nan, 9, 2, 5, 5, 2, nan, 5, 1})),
          dy(backend, as<T>(std::vector<float>{1, 2, 3})), y(backend, 3), dx(backend, 12);
      const Buffer<std::int32_t> index(backend, 3);
      table.pool.max_forward({}, g, x.get(), y.get(), index.get());
      const std::vector<double> found = y.wide();
      CHECK(std::isnan(found[0]));
      CHECK(std::isnan(found[1]));
      CHECK(found[2] == 2);
      CHECK(index.values() == std::vector<std::int32_t>{1, 0, 1});
      table.pool.max_backward({}, g, dy.get(), index.get(), dx.get());
      CHECK(dx.wide() == std::vector<double>{0, 2, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0});
    });
  });
}

}  // namespace pool_cases

inline const std::vector<Case> kPoolCases = {
    {"max equals the oracle, index and ties included", pool_cases::max},
    {"average equals the oracle, padding counted or not", pool_cases::average},
    {"adaptive equals the oracle", pool_cases::adaptive},
    {"NaN is the maximum, and the first NaN is the one that gets the gradient", pool_cases::nan},
};

}  // namespace retort::test
