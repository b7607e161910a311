// The oracle itself: numbers worked out by hand, and gradients by finite differences.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon64;
using Values = std::vector<double>;

const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

Values reals(std::int64_t n, std::uint64_t seed) { return test::wide(test::uniform(n, seed)); }

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// True if `gradient` is the derivative of function() by x, element by element.
template <class Function>
bool is_gradient(const Values& gradient, Values& x, double magnitude, const Function& function) {
  return test::worst(
             gradient,
             [&] {
               Values slopes(x.size());
               for (std::size_t i = 0; i < x.size(); ++i) slopes[i] = test::finite_difference(x, i, 1e-4, function);
               return slopes;
             }(),
             [&](std::size_t) { return test::difference_tolerance(1e-4, magnitude); }) <= 1;
}

}  // namespace

TEST_CASE("reference gemm: by hand, all transpositions, bias and relu") {
  const Values a = {1, 2, 3, 4, 5, 6}, at = {1, 4, 2, 5, 3, 6};      // 2 x 3
  const Values b = {1, 0, -1, 2, 0, -3}, bt = {1, -1, 0, 0, 2, -3};  // 3 x 2
  const Values bias = {10, 0};
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      const GemmGeometry g = {2, 2, 3, transpose_a, transpose_b};
      const double* left = transpose_a ? at.data() : a.data();
      const double* right = transpose_b ? bt.data() : b.data();
      Values c = blank<double>(4);
      oracle().gemm.run({}, g, left, right, nullptr, false, c.data(), nullptr);
      CHECK(c == Values{-1, -5, -1, -8});
      oracle().gemm.run({}, g, left, right, bias.data(), true, c.data(), nullptr);
      CHECK(c == Values{9, 0, 9, 0});
    }
}

TEST_CASE("reference conv2d: by hand, with padding, stride and dilation") {
  const Values x = {1, 2, 3, 4, 5, 6, 7, 8, 9};  // 3 x 3
  const Values w = {1, 10, 100, 1000};           // 2 x 2: no flip, so that 1 meets the top left
  Values y = blank<double>(4);
  const Conv2dGeometry plain = {.h = 3, .w = 3, .r = 2, .s = 2};
  oracle().conv2d.fprop({}, plain, x.data(), w.data(), {}, y.data(), nullptr);
  CHECK(y == Values{5421, 6532, 8754, 9865});
  const double bias = -6000;
  oracle().conv2d.fprop({}, plain, x.data(), w.data(), {.bias = &bias, .relu = true}, y.data(), nullptr);
  CHECK(y == Values{0, 532, 2754, 3865});
  const double scale = 2;
  const Values residual = {-5000, -8000, 0, 1};
  oracle().conv2d.fprop({}, plain, x.data(), w.data(), {&scale, &bias, residual.data(), /*relu=*/true}, y.data(),
                        nullptr);
  CHECK(y == Values{0, 0, 11508, 13731});
  const Conv2dGeometry strided = {.h = 3, .w = 3, .r = 2, .s = 2, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1};
  oracle().conv2d.fprop({}, strided, x.data(), w.data(), {}, y.data(), nullptr);
  CHECK(y == Values{1000, 3200, 7040, 9865});
  const Conv2dGeometry dilated = {.h = 3, .w = 3, .r = 2, .s = 2, .dilation_h = 2, .dilation_w = 2};
  y = blank<double>(1);
  oracle().conv2d.fprop({}, dilated, x.data(), w.data(), {}, y.data(), nullptr);
  CHECK(y == Values{9731});
  // Two groups of one input channel and one filter each; channels lie innermost.
  const Conv2dGeometry grouped = {.w = 2, .c = 2, .k = 2, .groups = 2};
  const Values pixels = {1, 2, 3, 4}, scales = {10, 100};
  y = blank<double>(4);
  oracle().conv2d.fprop({}, grouped, pixels.data(), scales.data(), {}, y.data(), nullptr);
  CHECK(y == Values{10, 200, 30, 400});
}

TEST_CASE("reference conv2d: dgrad and wgrad are fprop's gradients, by finite differences") {
  const Conv2dGeometry kShapes[] = {
      {.n = 2, .h = 5, .w = 4, .c = 2, .k = 3, .r = 3, .s = 2, .pad_h = 1},
      {.n = 1,
       .h = 6,
       .w = 5,
       .c = 4,
       .k = 2,
       .r = 3,
       .s = 3,
       .stride_h = 2,
       .stride_w = 3,
       .pad_h = 1,
       .pad_w = 2,
       .groups = 2},
      {.n = 1, .h = 7, .w = 5, .c = 1, .k = 2, .r = 3, .s = 2, .stride_h = 2, .dilation_h = 2, .dilation_w = 3}};
  for (const Conv2dGeometry& g : kShapes) {
    Values x = reals(g.n * g.h * g.w * g.c, 1), w = reals(g.r * g.s * g.c_per_group() * g.k, 2);
    Values y = blank<double>(g.n * g.p() * g.q() * g.k), dx = blank<double>(std::ssize(x)),
           dw = blank<double>(std::ssize(w));
    const Values dy = reals(std::ssize(y), 3);
    oracle().conv2d.dgrad({}, g, dy.data(), w.data(), dx.data(), nullptr);
    oracle().conv2d.wgrad({}, g, x.data(), dy.data(), dw.data(), nullptr);
    const auto loss = [&] {
      oracle().conv2d.fprop({}, g, x.data(), w.data(), {}, y.data(), nullptr);
      return dot(y, dy);
    };
    CHECK(is_gradient(dx, x, 100, loss));
    CHECK(is_gradient(dw, w, 100, loss));
  }
}

TEST_CASE("reference batch_norm: by hand") {
  // Channel 0 holds 1, 3, 5, 7: mean 4, variance 5, unbiased 20 / 3. Channel 1 holds 2 throughout.
  const Values x = {1, 2, 3, 2, 5, 2, 7, 2}, gamma = {2, 3}, beta = {-1, 0.5}, residual = {0, 1, 0, 1, 0, 1, 0, -9};
  Values y = blank<double>(8), mean = blank<double>(2), inv_std = blank<double>(2), running_mean = {0, 0},
         running_var = {1, 1};
  const BatchNormGeometry g = {4, 2};
  const BatchNormForward f = {x.data(), gamma.data(), beta.data(), residual.data(), true, 4, y.data()};
  oracle().batch_norm.forward_train({}, g, f, 0.25, mean.data(), inv_std.data(), running_mean.data(),
                                    running_var.data(), nullptr);
  const auto close = [](double found, double expected) { return std::fabs(found - expected) <= 8 * epsilon64; };
  CHECK(mean == Values{4, 2});
  CHECK(close(inv_std[0], 1 / 3.0));
  CHECK(inv_std[1] == 0.5);
  CHECK(running_mean == Values{1, 0.5});
  CHECK(close(running_var[0], 0.75 + 5 / 3.0));
  CHECK(running_var[1] == 0.75);
  CHECK(y[0] == 0);  // 2 * -1 - 1
  CHECK(y[1] == 1.5);
  CHECK(y[4] == 0);  // 2 / 3 - 1
  CHECK(close(y[6], 1));
  CHECK(y[7] == 0);
  const Values fixed_mean = {1, 0}, fixed_var = {0, 12};
  oracle().batch_norm.forward_eval({}, g, f, fixed_mean.data(), fixed_var.data(), nullptr, nullptr, nullptr);
  CHECK(y == Values{0, 3, 1, 3, 3, 3, 5, 0});
}

TEST_CASE("reference batch_norm: folded, a scale and a shift that say the same, the bias before it included") {
  const Values gamma = {2, 3}, beta = {-1, 1}, mean = {1, 0}, var = {0, 12}, bias = {10, 20};
  Values scale = blank<double>(2), shift = blank<double>(2);
  oracle().batch_norm.fold({}, 2, gamma.data(), beta.data(), mean.data(), var.data(), 4, nullptr, scale.data(),
                           shift.data());
  CHECK(scale == Values{1, 0.75});
  CHECK(shift == Values{-2, 1});
  oracle().batch_norm.fold({}, 2, gamma.data(), beta.data(), mean.data(), var.data(), 4, bias.data(), scale.data(),
                           shift.data());
  CHECK(scale == Values{1, 0.75});
  CHECK(shift == Values{8, 16});
}

TEST_CASE("reference batch_norm: gradients by finite differences, through the statistics and with them fixed") {
  const BatchNormGeometry g = {7, 3};
  for (const bool relu : {false, true})
    for (const bool train : {true, false}) {
      Values x = reals(21, 1), gamma = reals(3, 2), beta = reals(3, 3), residual = reals(21, 4);
      const Values dy = reals(21, 5), running_mean = reals(3, 6), running_var = {0.5, 1, 2};
      Values y = blank<double>(21), mean = running_mean, inv_std(3);
      for (std::size_t c = 0; c < 3; ++c) inv_std[c] = 1 / std::sqrt(running_var[c] + 0.01);
      const auto loss = [&] {
        const BatchNormForward f = {x.data(), gamma.data(), beta.data(), residual.data(), relu, 0.01, y.data()};
        Values moved_mean = running_mean, moved_var = running_var;
        if (train)
          oracle().batch_norm.forward_train({}, g, f, 0.1, mean.data(), inv_std.data(), moved_mean.data(),
                                            moved_var.data(), nullptr);
        else
          oracle().batch_norm.forward_eval({}, g, f, running_mean.data(), running_var.data(), nullptr, nullptr,
                                           nullptr);
        return dot(y, dy);
      };
      loss();
      Values dx = blank<double>(21), dgamma = blank<double>(3), dbeta = blank<double>(3), dresidual = blank<double>(21);
      const Values kept_y = y, kept_mean = mean, kept_inv_std = inv_std;
      const BatchNormBackward b = {x.data(),    kept_y.data(),    dy.data(),           gamma.data(),
                                   beta.data(), kept_mean.data(), kept_inv_std.data(), relu,
                                   dx.data(),   dgamma.data(),    dbeta.data(),        dresidual.data()};
      (train ? oracle().batch_norm.backward_train : oracle().batch_norm.backward_eval)({}, g, b, nullptr);
      // No element lies within a step of relu's kink, or these would fail.
      CHECK(is_gradient(dx, x, 1000, loss));
      CHECK(is_gradient(dgamma, gamma, 100, loss));
      CHECK(is_gradient(dbeta, beta, 100, loss));
      CHECK(is_gradient(dresidual, residual, 100, loss));
    }
}

TEST_CASE("reference elementwise: sums of rows by hand; float accumulates in double") {
  const Values x = {1, 2, 3, 10, 20, 30};
  Values y = blank<double>(3);
  oracle().elementwise.sum_rows({}, 2, 3, x.data(), y.data(), nullptr);
  CHECK(y == Values{11, 22, 33});
  // In float, 1 + 2^-24 is 1 however often it is added.
  std::vector<float> small(1 << 16, 0x1p-24f), sum(1);
  small[0] = 1;
  kernels_for(Device::reference, DType::f32).elementwise.sum_rows({}, 1 << 16, 1, small.data(), sum.data(), nullptr);
  CHECK(std::fabs(sum[0] - (1 + 65535 * 0x1p-24)) <= test::epsilon32);
}

}  // namespace retort
