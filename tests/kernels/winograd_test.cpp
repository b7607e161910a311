// Winograd's convolution against the direct sum in double. The tolerance is the running error bound of the algorithm:
// every intermediate is a sum of products of the transforms' coefficients, so its rounding errors are at most
// (number of roundings) * epsilon / 2 times the same expression with all terms taken absolutely.
#include "kernels/cpu/conv/winograd.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/reference/table.h"
#include "tests/case.h"
#include "tests/element_types.h"
#include "tests/kernels/conv_epilogue.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

template <int rows, int cols>
using Matrix = std::array<std::array<double, cols>, rows>;

constexpr double kA = 5.0 / 8, kB = 3.0 / 2, kPoints[] = {0, kA, -kA, kB, -kB};

/// The transforms from their definition (kernels/cpu/conv/winograd-inl.h), all coefficients taken absolutely.
struct AbsoluteTransforms {
  Matrix<6, 6> input{};   // |B^T|
  Matrix<6, 3> filter{};  // |G|
  Matrix<4, 6> output{};  // |A^T|

  AbsoluteTransforms() {
    for (int p = 0; p < 5; ++p) {
      // The product of x - q over the other points: its coefficients, lowest first, and its value at p.
      std::vector<double> polynomial = {1};
      double value = 1;
      for (int q = 0; q < 5; ++q) {
        if (q == p) continue;
        polynomial.insert(polynomial.begin(), 0);
        for (std::size_t i = 0; i + 1 < polynomial.size(); ++i) polynomial[i] -= kPoints[q] * polynomial[i + 1];
        value *= kPoints[p] - kPoints[q];
      }
      for (std::size_t i = 0; i < 5; ++i) input[p][i] = std::fabs(polynomial[i]);
      for (int i = 0; i < 3; ++i) filter[p][i] = std::fabs(std::pow(kPoints[p], i) / value);
      for (int i = 0; i < 4; ++i) output[i][p] = std::fabs(std::pow(kPoints[p], i));
    }
    input[5] = {0, kA * kA * kB * kB, 0, kA * kA + kB * kB, 0, 1};
    filter[5] = {0, 0, 1};
    output[3][5] = 1;
  }
};

/// M t M^T
template <std::size_t rows, std::size_t cols>
Matrix<rows, rows> around(const std::array<std::array<double, cols>, rows>& m, const Matrix<cols, cols>& t) {
  Matrix<rows, rows> result{};
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < rows; ++j)
      for (std::size_t k = 0; k < cols; ++k)
        for (std::size_t l = 0; l < cols; ++l) result[i][j] += m[i][k] * t[k][l] * m[j][l];
  return result;
}

template <std::size_t rows, std::size_t cols>
std::array<std::array<double, rows>, cols> transposed(const std::array<std::array<double, cols>, rows>& m) {
  std::array<std::array<double, rows>, cols> result{};
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < cols; ++j) result[j][i] = m[i][j];
  return result;
}

using Buffer = std::vector<double>;

/// The square of `side` pixels at (row, column) of channel c of an image, 0 outside.
template <int side>
Matrix<side, side> square(const Buffer& image, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t channels,
                          std::int64_t row, std::int64_t column, std::int64_t c) {
  Matrix<side, side> result{};
  for (int i = 0; i < side; ++i)
    for (int j = 0; j < side; ++j)
      if (row + i >= 0 && row + i < h && column + j >= 0 && column + j < w)
        result[i][j] = std::fabs(image[static_cast<std::size_t>(((n * h + row + i) * w + column + j) * channels + c)]);
  return result;
}

/// Runs body(image, first row, first column) for every tile of a y [n, p, q].
void for_tiles(std::int64_t n, std::int64_t p, std::int64_t q,
               const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body) {
  for (std::int64_t image = 0; image < n; ++image)
    for (std::int64_t row = 0; row < p; row += 4)
      for (std::int64_t column = 0; column < q; column += 4) body(image, row, column);
}

/// What fprop's errors grow with, [n, p, q, k]; `tap(i, j, c, k)` gives the filter.
template <class Tap>
Buffer product_magnitude(const Conv2dGeometry& g, const Buffer& x, const Tap& tap) {
  const AbsoluteTransforms transforms;
  std::vector<Matrix<6, 6>> filters;
  for (std::int64_t c = 0; c < g.c; ++c)
    for (std::int64_t k = 0; k < g.k; ++k) {
      Matrix<3, 3> taps{};
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) taps[i][j] = std::fabs(tap(i, j, c, k));
      filters.push_back(around(transforms.filter, taps));
    }
  Buffer result(static_cast<std::size_t>(g.n * g.p() * g.q() * g.k));
  for_tiles(g.n, g.p(), g.q(), [&](std::int64_t n, std::int64_t row, std::int64_t column) {
    std::vector<Matrix<6, 6>> inputs;
    for (std::int64_t c = 0; c < g.c; ++c)
      inputs.push_back(around(transforms.input, square<6>(x, n, g.h, g.w, g.c, row - g.pad_h, column - g.pad_w, c)));
    for (std::int64_t k = 0; k < g.k; ++k) {
      Matrix<6, 6> product{};
      for (std::int64_t c = 0; c < g.c; ++c)
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j)
            product[i][j] +=
                inputs[static_cast<std::size_t>(c)][i][j] * filters[static_cast<std::size_t>(c * g.k + k)][i][j];
      const Matrix<4, 4> output = around(transforms.output, product);
      for (int i = 0; i < 4 && row + i < g.p(); ++i)
        for (int j = 0; j < 4 && column + j < g.q(); ++j)
          result[static_cast<std::size_t>(((n * g.p() + row + i) * g.q() + column + j) * g.k + k)] = output[i][j];
    }
  });
  return result;
}

/// What wgrad's errors grow with, [3, 3, c, k].
Buffer gradient_magnitude(const Conv2dGeometry& g, const Buffer& x, const Buffer& dy) {
  const AbsoluteTransforms transforms;
  std::vector<Matrix<6, 6>> sums(static_cast<std::size_t>(g.c * g.k));
  for_tiles(g.n, g.p(), g.q(), [&](std::int64_t n, std::int64_t row, std::int64_t column) {
    std::vector<Matrix<6, 6>> gradients;
    for (std::int64_t k = 0; k < g.k; ++k)
      gradients.push_back(around(transposed(transforms.output), square<4>(dy, n, g.p(), g.q(), g.k, row, column, k)));
    for (std::int64_t c = 0; c < g.c; ++c) {
      const auto input = around(transforms.input, square<6>(x, n, g.h, g.w, g.c, row - g.pad_h, column - g.pad_w, c));
      for (std::int64_t k = 0; k < g.k; ++k)
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j)
            sums[static_cast<std::size_t>(c * g.k + k)][i][j] +=
                input[i][j] * gradients[static_cast<std::size_t>(k)][i][j];
    }
  });
  Buffer result(static_cast<std::size_t>(9 * g.c * g.k));
  for (std::int64_t i = 0; i < g.c * g.k; ++i) {
    const Matrix<3, 3> taps = around(transposed(transforms.filter), sums[static_cast<std::size_t>(i)]);
    for (int r = 0; r < 3; ++r)
      for (int s = 0; s < 3; ++s) result[static_cast<std::size_t>((3 * r + s) * g.c * g.k + i)] = taps[r][s];
  }
  return result;
}

/// Roundings along the longest path: two dimensions of at most 5 for each of three transforms, and their coefficients'
/// own; then the sum.
/// In bf16 both transforms are rounded to T once more. The result's own rounding is not in it.
template <class T>
double allowed(std::int64_t terms, double magnitude) {
  const double rounded = std::is_same_v<T, float> ? 0 : 2.01 * test::epsilon_of<T> / 2;
  return test::dot_tolerance(terms + 40, magnitude) + rounded * magnitude;
}

Conv2dGeometry geometry(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t k,
                        std::int64_t pad) {
  return {.n = n, .h = h, .w = w, .c = c, .k = k, .r = 3, .s = 3, .pad_h = pad, .pad_w = pad};
}

// Whole and cut tiles; channels around a vector, a sliver, a group of columns and a block of depth; every padding.
const Conv2dGeometry kShapes[] = {geometry(1, 4, 4, 32, 32, 1),  geometry(2, 7, 8, 33, 35, 1),
                                  geometry(1, 10, 9, 48, 70, 0), geometry(1, 6, 11, 40, 130, 2),
                                  geometry(3, 8, 7, 300, 34, 1), geometry(1, 7, 7, 34, 300, 1),
                                  geometry(1, 4, 4, 545, 32, 1), geometry(5, 14, 13, 33, 35, 1)};

/// A pass as T; operands are rounded to it, the filter's gradient is float.
template <class T>
std::vector<float> on_cpu(ConvPass pass, const Conv2dGeometry& g, const std::vector<float>& a_values,
                          const std::vector<float>& b_values, std::size_t size, const ConvEpilogue& epilogue = {}) {
  const std::vector<T> a = test::as<T>(a_values), b = test::as<T>(b_values);
  std::vector<T> out = test::blank<T>(size);
  std::vector<float> gradient = test::blank<float>(size);
  const Conv2dKernels& conv2d = kernels_for(Device::cpu, test::dtype_of<T>).conv2d;
  std::vector<char> workspace = test::unwritten_workspace(conv2d.workspace_bytes(pass, g));
  switch (pass) {
    case ConvPass::fprop: conv2d.fprop({}, g, a.data(), b.data(), epilogue, out.data(), workspace.data()); break;
    case ConvPass::dgrad: conv2d.dgrad({}, g, a.data(), b.data(), out.data(), workspace.data()); break;
    case ConvPass::wgrad: conv2d.wgrad({}, g, a.data(), b.data(), gradient.data(), workspace.data()); return gradient;
  }
  return std::vector<float>(out.begin(), out.end());
}

struct Operands {
  /// As T holds them.
  template <class T>
  Operands(const Conv2dGeometry& g, T)
      : x(test::held<T>(test::uniform(g.n * g.h * g.w * g.c, 1))),
        w(test::held<T>(test::uniform(9 * g.c * g.k, 2))),
        dy(test::held<T>(test::uniform(g.n * g.p() * g.q() * g.k, 3))) {}
  std::vector<float> x, w, dy;
};

}  // namespace

TEST_CASE("winograd: all passes are within the algorithm's error bound of the direct sum in double") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    for (const Conv2dGeometry& g : kShapes) {
      CAPTURE(g.h);
      CAPTURE(g.w);
      CAPTURE(g.c);
      CAPTURE(g.k);
      CAPTURE(g.pad_h);
      const Operands o(g, zero);
      const Buffer x = test::wide(o.x), w = test::wide(o.w), dy = test::wide(o.dy);
      Buffer y(dy.size()), dx(x.size()), dw(w.size());
      reference::table<double>().conv2d.fprop({}, g, x.data(), w.data(), {}, y.data(), nullptr);
      reference::table<double>().conv2d.dgrad({}, g, dy.data(), w.data(), dx.data(), nullptr);
      reference::table<double>().conv2d.wgrad({}, g, x.data(), dy.data(), dw.data(), nullptr);
      const Conv2dGeometry backward = geometry(g.n, g.p(), g.q(), g.k, g.c, 2 - g.pad_h);
      const Buffer y_magnitude = product_magnitude(g, x, [&](int i, int j, std::int64_t c, std::int64_t k) {
        return w[static_cast<std::size_t>(((3 * i + j) * g.c + c) * g.k + k)];
      });
      const Buffer dx_magnitude = product_magnitude(backward, dy, [&](int i, int j, std::int64_t k, std::int64_t c) {
        return w[static_cast<std::size_t>(((3 * (2 - i) + 2 - j) * g.c + c) * g.k + k)];
      });
      const Buffer dw_magnitude = gradient_magnitude(g, x, dy);
      const std::int64_t tiles = g.n * ((g.p() + 3) / 4) * ((g.q() + 3) / 4);
      for (const ConvPass pass : {ConvPass::fprop, ConvPass::dgrad}) CHECK(cpu::use_winograd<T>(pass, g));
      // In bf16 only from 64 tiles on; the direct sum is within the same bound.
      CHECK(cpu::use_winograd<T>(ConvPass::wgrad, g) == (std::is_same_v<T, float> || tiles >= 64));
      test::for_each_cpu_setting([&] {
        const auto within = [](const std::vector<float>& found, const Buffer& expected, const Buffer& magnitude,
                               std::int64_t terms, double rounding) {
          return test::worst(found, expected, [&](std::size_t i) {
            return allowed<T>(terms, magnitude[i]) + rounding * 1.01 * std::fabs(expected[i]);
          });
        };
        const double rounding = std::is_same_v<T, float> ? 0 : test::epsilon_of<T> / 2;
        CHECK(within(on_cpu<T>(ConvPass::fprop, g, o.x, o.w, y.size()), y, y_magnitude, g.c, rounding) <= 1);
        CHECK(within(on_cpu<T>(ConvPass::dgrad, g, o.dy, o.w, x.size()), dx, dx_magnitude, g.k, rounding) <= 1);
        CHECK(within(on_cpu<T>(ConvPass::wgrad, g, o.x, o.dy, w.size()), dw, dw_magnitude, tiles, 0) <= 1);
      });
    }
  });
}

TEST_CASE("winograd: the interpolation points are good ones") {
  // Half-normal inputs and normal filters, as in docs/numerics.md: the usual points err twice as much.
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const Conv2dGeometry g = geometry(1, 16, 16, 256, 64, 1);
    Operands o(g, zero);
    o.x = test::normal(static_cast<std::int64_t>(o.x.size()), 1);
    for (float& value : o.x) value = std::max(0.0f, value);
    o.x = test::held<T>(o.x);
    o.w = test::held<T>(test::normal(static_cast<std::int64_t>(o.w.size()), 3));
    const Buffer x = test::wide(o.x), w = test::wide(o.w);
    Buffer y(o.dy.size());
    reference::table<double>().conv2d.fprop({}, g, x.data(), w.data(), {}, y.data(), nullptr);
    const double found = test::relative_rms(on_cpu<T>(ConvPass::fprop, g, o.x, o.w, y.size()), y);
    CHECK(found <= (std::is_same_v<T, float> ? 1.4e-6 : 0.0115));
  });
}

TEST_CASE("winograd: the epilogue comes after the sum") {
  const Conv2dGeometry g = geometry(2, 9, 8, 32, 71, 1);
  test::for_each_element_type([&](auto zero) {
    using T = decltype(zero);
    const Operands o(g, zero);
    test::for_each_cpu_setting([&] {
      test::check_epilogue<T>(g.k, o.dy, [&](bool blank, const ConvEpilogue& epilogue) {
        const std::vector<float> x = blank ? std::vector<float>(o.x.size()) : o.x;
        return on_cpu<T>(ConvPass::fprop, g, x, o.w, o.dy.size(), epilogue);
      });
    });
  });
}

TEST_CASE("winograd: a NaN in x reaches y through the ReLU") {
  const Conv2dGeometry g = geometry(1, 8, 8, 32, 40, 1);
  Operands o(g, float{});
  o.x[5] = std::numeric_limits<float>::quiet_NaN();
  test::for_each_cpu_setting(
      [&] { CHECK(std::isnan(on_cpu<float>(ConvPass::fprop, g, o.x, o.w, o.dy.size(), {.relu = true})[0])); });
}

TEST_CASE("winograd: neither the batch nor the threads change an image's bits") {
  test::for_each_element_type([](auto zero) {
    using T = decltype(zero);
    const Conv2dGeometry one = geometry(1, 14, 15, 40, 70, 1), five = geometry(5, 14, 15, 40, 70, 1);
    const Operands o(five, zero);
    const std::size_t y_size = o.dy.size() / 5, x_size = o.x.size() / 5;
    std::vector<float> of_one_thread;
    test::for_each_cpu_setting([&] {
      const std::vector<float> y = on_cpu<T>(ConvPass::fprop, five, o.x, o.w, 5 * y_size);
      const std::vector<float> dx = on_cpu<T>(ConvPass::dgrad, five, o.dy, o.w, 5 * x_size);
      const std::vector<float> dw = on_cpu<T>(ConvPass::wgrad, five, o.x, o.dy, o.w.size());
      const std::vector<float> x_alone(o.x.begin(), o.x.begin() + x_size),
          dy_alone(o.dy.begin(), o.dy.begin() + y_size);
      CHECK(std::vector<float>(y.begin(), y.begin() + y_size) == on_cpu<T>(ConvPass::fprop, one, x_alone, o.w, y_size));
      CHECK(std::vector<float>(dx.begin(), dx.begin() + x_size) ==
            on_cpu<T>(ConvPass::dgrad, one, dy_alone, o.w, x_size));
      std::vector<float> all = y;
      all.insert(all.end(), dx.begin(), dx.end());
      all.insert(all.end(), dw.begin(), dw.end());
      if (num_threads() == 1) of_one_thread = all;
      CHECK(all == of_one_thread);
    });
  });
}

TEST_CASE("winograd: what it takes, and that it can be turned off") {
  const auto used = [](Conv2dGeometry g, auto change) {
    change(g);
    return cpu::use_winograd<float>(ConvPass::fprop, g);
  };
  const Conv2dGeometry g = geometry(1, 14, 14, 64, 64, 1);
  CHECK(used(g, [](auto&) {}));
  CHECK(!used(g, [](auto& o) { o.stride_h = 2; }));
  CHECK(!used(g, [](auto& o) { o.dilation_w = 2; }));
  CHECK(!used(g, [](auto& o) { o.groups = 2; }));
  CHECK(!used(g, [](auto& o) { o.s = 1; }));
  CHECK(!used(g, [](auto& o) { o.pad_w = 3; }));
  CHECK(!used(g, [](auto& o) { o.c = 3; }));
  CHECK(!used(g, [](auto& o) { o.h = o.w = 1; }));

  std::vector<float> x = test::integers<float>(g.h * g.w * g.c, 5, -3, 3);
  const std::vector<float> w = test::integers<float>(9 * g.c * g.k, 6, -3, 3);
  std::vector<float> expected(x.size());
  reference::table<float>().conv2d.fprop({}, g, x.data(), w.data(), {}, expected.data(), nullptr);
  set_winograd_enabled(false);
  const std::vector<float> direct = on_cpu<float>(ConvPass::fprop, g, x, w, x.size());
  set_winograd_enabled(true);
  CHECK(direct == expected);
}

}  // namespace retort
