// What kernel tests share: buffers filled by the project's own generator, and comparisons that no NaN slips through.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

#include "kernels/philox.h"

namespace retort::test {

/// n values uniform in [low, high), drawn by Philox from (seed, index): the same on every machine.
inline std::vector<float> uniform(std::int64_t n, std::uint64_t seed, double low = -1, double high = 1) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t word = philox4x32({static_cast<std::uint32_t>(i), 0, 0, 0}, seed)[0];
    values[i] = static_cast<float>(low + (high - low) * (word / 4294967296.0));
  }
  return values;
}

/// n integers in [low, high] as T.
template <class T>
std::vector<T> integers(std::int64_t n, std::uint64_t seed, int low, int high) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<T>(low + static_cast<int>(philox4x32({static_cast<std::uint32_t>(i), 1, 0, 0}, seed)[0] %
                                                      static_cast<std::uint32_t>(high - low + 1)));
  return values;
}

/// n standard normal values, by Box and Muller.
inline std::vector<float> normal(std::int64_t n, std::uint64_t seed) {
  const std::vector<float> radius = uniform(n, seed, 0, 1), angle = uniform(n, seed + 1, 0, 6.283185307179586);
  std::vector<float> values(radius.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(std::sqrt(-2 * std::log1p(-double{radius[i]})) * std::cos(double{angle[i]}));
  return values;
}

/// n powers of two in [1/4, 4] of either sign: to multiply by them is exact.
inline std::vector<float> powers_of_two(std::int64_t n) {
  constexpr float kPowers[] = {0.25f, -0.5f, 1, -2, 4};
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = kPowers[i % std::size(kPowers)];
  return values;
}

/// n values in [1, 5/4), each a unit of float below one that tf32 holds: to nearest that one, cut off the one below it.
inline std::vector<float> just_below_tf32(std::int64_t n, std::uint64_t seed) {
  constexpr std::uint32_t kBeyondTf32 = 0x1FFF;  // float's bits of mantissa that tf32 has not
  std::vector<float> values = uniform(n, seed, 1, 1.249);
  for (float& value : values) value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | kBeyondTf32);
  return values;
}

/// An output before the kernel ran: NaN, so that an element left unwritten is seen.
template <class T>
std::vector<T> blank(std::int64_t n) {
  return std::vector<T>(static_cast<std::size_t>(n), T(std::numeric_limits<float>::quiet_NaN()));
}

template <class T>
std::vector<double> wide(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

inline std::vector<double> absolute(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

/// The largest |found - expected| / tolerance(i); infinite where that is NaN, so `<= 1` says that all elements hold.
template <class T, class Tolerance>
double worst(const std::vector<T>& found, const std::vector<double>& expected, const Tolerance& tolerance) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::fabs(found[i] - expected[i]), allowed = tolerance(i);
    if (error == 0 && allowed >= 0) continue;  // 0 / 0 is no failure
    const double ratio = error / allowed;
    largest = ratio >= 0 ? std::max(largest, ratio) : infinity;
  }
  return largest;
}

/// The root mean square of found - expected, relative to that of expected; infinite if their sizes differ.
template <class T>
double relative_rms(const std::vector<T>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double errors = 0, squares = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    errors += (found[i] - expected[i]) * (found[i] - expected[i]);
    squares += expected[i] * expected[i];
  }
  return std::sqrt(errors / squares);
}

/// Elements that differ; NaN differs from everything, itself included.
template <class T, class U>
std::int64_t count_different(const std::vector<T>& found, const std::vector<U>& expected) {
  if (found.size() != expected.size()) return static_cast<std::int64_t>(std::max(found.size(), expected.size()));
  std::int64_t different = 0;
  for (std::size_t i = 0; i < found.size(); ++i) different += !(found[i] == expected[i]);
  return different;
}

/// The derivative of a scalar function of x at x[i] by central differences, x a double buffer that is left as it was.
template <class Function>
double finite_difference(std::vector<double>& x, std::size_t i, double step, const Function& function) {
  const double at = x[i];
  x[i] = at + step;
  const double above = function();
  x[i] = at - step;
  const double below = function();
  x[i] = at;
  return (above - below) / (2 * step);
}

}  // namespace retort::test
