// What the files of the convolution along one axis share: the lines of an image, and the schemes F(M, R).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv/winograd_plan.h"

namespace retort::cpu {

/// A convolution as its lines see it: y from x, for dgrad with the roles of x and y exchanged. A line is a row of the
/// image or a column.
struct LineImage {
  bool rows;
  std::int64_t lines, width;  ///< of all images; columns of an image
  std::int64_t in, out;       ///< pixels of a line
  std::int64_t taps, pad, c, k;

  /// Of a line: its first pixel, and the pixels from one to the next.
  std::int64_t first_pixel(std::int64_t line, std::int64_t length) const {
    return rows ? line * length : line / width * width * length + line % width;
  }
  std::int64_t step() const { return rows ? 1 : width; }
};

inline LineImage forward_lines(const Conv2dGeometry& g) {
  if (g.r == 1)
    return {.rows = true,
            .lines = g.n * g.h,
            .width = g.w,
            .in = g.w,
            .out = g.q(),
            .taps = g.s,
            .pad = g.pad_w,
            .c = g.c,
            .k = g.k};
  return {.rows = false,
          .lines = g.n * g.w,
          .width = g.w,
          .in = g.h,
          .out = g.p(),
          .taps = g.r,
          .pad = g.pad_h,
          .c = g.c,
          .k = g.k};
}
inline LineImage backward_lines(const Conv2dGeometry& g) {
  LineImage lines = forward_lines(g);
  std::swap(lines.in, lines.out);
  std::swap(lines.c, lines.k);
  lines.pad = lines.taps - 1 - lines.pad;
  return lines;
}

/// F(M, R): M outputs of R taps, interpolated at the given points and at infinity. The matrices are those of Toom and
/// Cook; with N_i the product of (p_i - p_j) over the other points,
///   output [M, I]: p_i^j; filter [I, R]: p_i^r / N_i; input [I, I]: the coefficients of the product of (x - p_j),
/// and for infinity the leading coefficients.
template <int M, int R>
struct Interpolation {
  static constexpr int kOut = M, kTaps = R, kIn = M + R - 1;
  std::array<std::array<float, kIn>, M> output{};
  std::array<std::array<float, R>, kIn> filter{};
  std::array<std::array<float, kIn>, kIn> input{};

  constexpr explicit Interpolation(const std::array<double, kIn - 1>& points) {
    for (int i = 0; i < kIn; ++i) {
      const bool infinite = i == kIn - 1;
      double divisor = 1;
      std::array<double, kIn> polynomial{1};
      for (int j = 0, degree = 0; j < kIn - 1; ++j) {
        if (j == i) continue;
        if (!infinite) divisor *= points[i] - points[j];
        for (int d = ++degree; d > 0; --d) polynomial[d] = polynomial[d - 1] - points[j] * polynomial[d];
        polynomial[0] *= -points[j];
      }
      for (int j = 0; j < kIn; ++j) input[i][j] = static_cast<float>(polynomial[j]);
      double power = 1;
      for (int j = 0; j < std::max(M, R); ++j, power *= infinite ? 1 : points[i]) {
        if (j < M) output[j][i] = infinite ? static_cast<float>(j == M - 1) : static_cast<float>(power);
        if (j < R) filter[i][j] = infinite ? static_cast<float>(j == R - 1) : static_cast<float>(power / divisor);
      }
    }
  }
};

/// The points err least among multiples of 1/8 (docs/numerics.md).
inline constexpr Interpolation<4, 3> kF43({0, 0.625, -0.625, 1.5, -1.5});
inline constexpr Interpolation<5, 4> kF54({0, 0.5, -0.5, 1, -1, 2, -2});
inline constexpr Interpolation<6, 4> kF64({0.25, -0.25, 0.625, -0.625, 1.125, -1.125, 2.25, -2.25});

struct SchemeF43 {
  static constexpr const Interpolation<4, 3>& kMatrices = kF43;
};
struct SchemeF54 {
  static constexpr const Interpolation<5, 4>& kMatrices = kF54;
};
struct SchemeF64 {
  static constexpr const Interpolation<6, 4>& kMatrices = kF64;
};

/// Calls f(scheme) with a type whose kMatrices is the scheme for so many taps and products of T. Rounding transforms to
/// bf16 would cost F(6, 4) more than F(4 x 4, 3 x 3); F(5, 4) stays below.
template <class T, class F>
void with_scheme(std::int64_t taps, const F& f) {
  if (taps <= 3)
    f(SchemeF43{});
  else
    f(std::conditional_t<std::is_same_v<T, float>, SchemeF64, SchemeF54>{});
}

/// How a scheme cuts the filter and the lines.
struct LineTiles {
  std::int64_t products, tap_blocks, per_line, tiles;
};
template <class T>
LineTiles cut_lines(const LineImage& l) {
  LineTiles cut{};
  with_scheme<T>(l.taps, [&](auto scheme) {
    constexpr auto& kMatrices = decltype(scheme)::kMatrices;
    cut.products = kMatrices.kIn;
    cut.tap_blocks = divide_up(l.taps, kMatrices.kTaps);
    cut.per_line = divide_up(l.out, kMatrices.kOut);
    cut.tiles = l.lines * cut.per_line;
  });
  return cut;
}

inline WinogradWgradPlan wgrad_plan_for(const LineImage& l, const LineTiles& cut) {
  return {cut.products, cut.tap_blocks, l.c, l.k};
}

}  // namespace retort::cpu
