// What backends promise of their arithmetic, from which tolerances are derived: the tests' cases, and `retort bench`
// where it says right or wrong.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/table.h"
#include "tests/tolerance.h"

namespace retort::test {

/// What a backend promises of its sums and functions. Tolerances are derived from it. `classes` are the terms of a sum
/// over a row, `argument` bounds the exponents.
struct Arithmetic {
  /// Terms of a column's sum (sum_rows, batch norm) that are added in float before a double takes over.
  std::int64_t float_rows;
  /// Roundings of an average over h x w elements, the division left out.
  std::int64_t (*window_roundings)(std::int64_t h, std::int64_t w);
  /// Relative error of a softmax's elements.
  double (*softmax)(std::int64_t classes, double argument);
  /// Error of sum_j y_j dy_j with probabilities y and |dy| <= 1.
  double (*mean_over_classes)(std::int64_t classes);
  /// Error of the softmax inside a loss, relative to each element, or to the largest if `of_the_largest`.
  double (*softmax_in_loss)(std::int64_t classes, double argument);
  bool of_the_largest = false;
  /// Whether batch norm takes squares about a row of the batch, in place of about the mean.
  bool squares_about_a_row = false;
  /// Whether losses do in float what lies around their softmax: targets, scales, mean and deviation of a row.
  bool losses_in_float = false;
  /// Relative rounding of what a product multiplies, beyond that of the elements' type.
  double operand_rounding = 0;
  /// Results below this may be 0.
  double underflow = 0;
};

/// The double reference on the host.
inline const KernelTable& oracle() { return kernels_for(Device::reference, DType::f64); }

/// A sum over classes: a thread adds at most 32 elements before log2(32) steps over lanes, or classes / 256 and then 8.
/// exp is good to two units, and its argument to as many as it has.
inline double device_sum(std::int64_t classes, double argument) {
  return epsilon32 * (4 + argument + static_cast<double>(classes > 1024 ? classes / 256 + 16 : 40));
}

inline const Arithmetic kDeviceArithmetic = {
    // A thread adds each 32nd row of a chunk of at least 64 in float, 32 such sums follow, then double.
    .float_rows = 2 + 32,
    .window_roundings = [](std::int64_t h, std::int64_t w) { return h * w; },
    .softmax = [](std::int64_t classes, double argument) { return 2 * device_sum(classes, argument); },
    .mean_over_classes = [](std::int64_t classes) { return device_sum(classes, 0) + 4 * epsilon32; },
    .softmax_in_loss = device_sum,
    .squares_about_a_row = true,
    .losses_in_float = true,
    .underflow = std::numeric_limits<float>::min()};

/// tf32 keeps 10 bits of mantissa, rounded to nearest.
inline constexpr double kTf32Rounding = 1.0 / 2048;

/// Of a ladder's steps. The naive ones add a row's terms one by one; an exponent carries three roundings, and exp two
/// units more, in the numerator and in every term of the sum; then come one or two for the division.
inline Arithmetic ladder_arithmetic(double operand_rounding) {
  Arithmetic arithmetic = kDeviceArithmetic;
  arithmetic.softmax = arithmetic.softmax_in_loss = [](std::int64_t classes, double argument) {
    return epsilon32 * (2 * (1.5 * argument + 2) + static_cast<double>(classes) / 2 + 2);
  };
  arithmetic.operand_rounding = operand_rounding;
  return arithmetic;
}

}  // namespace retort::test
