// Every tolerance of the tests: a derived coefficient times a dtype's epsilon. Comparisons are written
// `!(error <= tolerance)`, so that NaN fails.
#pragma once

#include <cstdint>
#include <limits>

namespace retort::test {

inline constexpr double epsilon32 = std::numeric_limits<float>::epsilon();
inline constexpr double epsilon64 = std::numeric_limits<double>::epsilon();

/// Bound on the error of a float dot product of `length` terms, in whatever order they are added: length roundings of
/// at most epsilon / 2 each (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), one more for a bias
/// and one for the oracle's own rounding. `magnitude` is the sum of the terms' absolute values.
inline double dot_tolerance(std::int64_t length, double magnitude) {
  return (static_cast<double>(length) + 2) / 2 * epsilon32 * magnitude;
}

/// Rows that the CPU kernels add in float before a double takes over (batch norm, sum_rows).
inline constexpr std::int64_t float_rows = 64;

/// A result computed in double and rounded to float once; `noise` bounds what the double arithmetic lost, and the last
/// term is half the smallest float.
inline double rounding_tolerance(double value, double noise = 0) {
  return epsilon32 / 2 * (value < 0 ? -value : value) + noise + std::numeric_limits<float>::denorm_min();
}

/// Error of a central difference in double: the third derivative's share of step^2, and the function's rounding over
/// the step. `magnitude` bounds the function and its third derivative.
inline double difference_tolerance(double step, double magnitude) {
  return magnitude * (step * step + 8 * epsilon64 / step);
}

/// Bound on the error of a mean over `rows` of sums of `terms` in double, logarithms and exponentials included (each
/// within a few units in the last place); `magnitude` bounds what is added.
inline double mean_tolerance(std::int64_t rows, std::int64_t terms, double magnitude) {
  return static_cast<double>(rows + terms + 8) * epsilon64 * magnitude;
}

}  // namespace retort::test
