// What an epilogue makes of a convolution's sums, checked for equality in parts that are exact in every element type.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "kernels/conv2d.h"
#include "tests/case.h"
#include "tests/element_types.h"

namespace retort::test {

/// run(blank, epilogue) gives y of k channels as T, widened: of an x that is all zeros if `blank`. residual, of y's
/// size, holds what T can.
template <class T, class Run>
void check_epilogue(std::int64_t k, const std::vector<float>& residual, const Run& run) {
  const std::vector<float> scale = powers_of_two(k), bias = uniform(k, 4);
  const std::vector<T> elements = as<T>(residual);
  const std::vector<float> sums = run(false, {});
  const auto check = [&](bool blank, const ConvEpilogue& epilogue, const auto& expected) {
    const std::vector<float> y = run(blank, epilogue);
    std::int64_t different = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      different += !(y[i] == float(T(expected(i, i % static_cast<std::size_t>(k)))));
    CHECK(different == 0);
  };
  // A power of two passes through the rounding of T.
  check(false, {.scale = scale.data()}, [&](std::size_t i, std::size_t c) { return sums[i] * scale[c]; });
  check(false, {.relu = true}, [&](std::size_t i, std::size_t) { return std::max(0.0f, sums[i]); });
  constexpr float kCeiling = 0.25f;
  check(false, {.relu = true, .ceiling = kCeiling},
        [&](std::size_t i, std::size_t) { return std::clamp(sums[i], 0.0f, kCeiling); });
  check(true, {scale.data(), bias.data(), elements.data(), /*relu=*/true},
        [&](std::size_t i, std::size_t c) { return std::max(0.0f, bias[c] + residual[i]); });
  check(true, {.bias = bias.data()}, [&](std::size_t, std::size_t c) { return bias[c]; });
}

}  // namespace retort::test
