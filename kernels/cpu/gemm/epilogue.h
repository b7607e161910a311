// What becomes of the sums of a matrix product C in the pass that writes them.
#pragma once

#include <cstdint>
#include <limits>

namespace retort::cpu {

/// C = act(scale[col] * sum + bias[col] + residual), act(x) = min(max(0, x), ceiling) if relu.
/// T: of C, float or BFloat16.
template <class T>
struct Epilogue {
  const float* scale = nullptr;  ///< [cols], or null for 1
  const float* bias = nullptr;   ///< [cols], or null for 0
  const T* residual = nullptr;   ///< laid out as C and apart from it, or null for 0
  bool relu = false;
  float ceiling = std::numeric_limits<float>::infinity();

  /// For the columns from `col` on.
  Epilogue from_column(std::int64_t col) const {
    const auto advanced = [&](auto* data) { return data != nullptr ? data + col : nullptr; };
    return {advanced(scale), advanced(bias), advanced(residual), relu, ceiling};
  }
};

}  // namespace retort::cpu
