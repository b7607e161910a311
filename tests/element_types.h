// What tests of kernels for f32 and bf16 share: both types in turn, and comparisons with the double reference.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/types.h"
#include "tests/case.h"
#include "tests/tolerance.h"

namespace retort::test {

/// Runs a check with f32 and with bf16 elements.
template <class Check>
void for_each_element_type(const Check& check) {
  {
    CAPTURE(std::string("f32"));
    check(float{});
  }
  CAPTURE(std::string("bf16"));
  check(BFloat16(0.0f));
}

template <class T>
inline constexpr DType dtype_of = std::is_same_v<T, float> ? DType::f32 : DType::bf16;
/// Distance of 1 and the next number.
template <class T>
inline constexpr double epsilon_of = std::is_same_v<T, float> ? epsilon32 : 1.0 / 128;

/// The values as T: those that it holds are kept.
template <class T, class From>
std::vector<T> as(const std::vector<From>& values) {
  std::vector<T> result;
  result.reserve(values.size());
  for (const From& value : values) {
    if constexpr (std::is_same_v<T, BFloat16>)
      result.push_back(T(static_cast<float>(value)));
    else
      result.push_back(static_cast<T>(value));
  }
  return result;
}

/// values as T holds them.
template <class T>
std::vector<float> held(const std::vector<float>& values) {
  const std::vector<T> elements = as<T>(values);
  return std::vector<float>(elements.begin(), elements.end());
}

/// The largest |found - expected| / (half a unit of T in the result + noise(i)); fine if <= 1. What is rounded to bf16
/// was rounded to float before, which costs up to a hundredth of that half unit.
template <class T, class Noise>
double error_of(const std::vector<T>& found, const std::vector<double>& expected, const Noise& noise) {
  constexpr bool is_float = std::is_same_v<T, float>;
  constexpr double half_unit = epsilon_of<T> / 2 * (is_float ? 1 : 1.01),
                   smallest = is_float ? std::numeric_limits<float>::denorm_min() : std::numeric_limits<float>::min();
  return worst(wide(found), expected,
               [&](std::size_t i) { return half_unit * std::fabs(expected[i]) + noise(i) + smallest; });
}

/// Rounded to T once, as a kernel's result is.
template <class T>
std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = double{float(T(static_cast<float>(value)))};
  return values;
}

/// A workspace before the kernel ran: NaN, in every type, so that what is read before it is written is seen.
inline std::vector<char> unwritten_workspace(std::size_t bytes) { return std::vector<char>(bytes, '\xFF'); }

}  // namespace retort::test
