// Inference in 8-bit integers, and rounding as it does while a network trains: activations u8, one scale and zero point
// a tensor; weights s8, one scale an output channel and no zero point; sums s32, which are exact.
//
//   real value = scale * (q - zero)          activations, zero in [0, 255]
//   real value = scale[k] * q                weights
//
// Krishnamoorthi 2018, 1806.08342. A convolution's sum is over (x - zero) * w; outside the image x counts as its zero
// point, which is the real 0. What becomes of a sum is float arithmetic: y = scale[k] * sum + bias[k] + ..., whose
// scales are the product of those of input and weight, divided by the output's where that is u8.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/pool.h"
#include "kernels/types.h"

namespace retort {

/// How an activation is stored.
struct Quantization {
  float scale = 1;
  std::int32_t zero = 0;  ///< in [0, 255]
  bool operator==(const Quantization&) const = default;
};

/// The longest sum whose s32 cannot overflow.
inline constexpr std::int64_t kMaxInt8Depth = 2147483647 / (255 * 128);

/// A convolution's filter and the numbers of its output channels, all of the host's memory.
struct Int8Filter {
  const std::int8_t* weight = nullptr;  ///< RSCK
  const float* scale = nullptr;         ///< [k]
  const float* bias = nullptr;          ///< [k]
  std::int32_t zero = 0;                ///< the input's zero point
};

/// y = clamp(scale[k] * sum + bias[k] + residual_scale * residual, low, high): as f32, or rounded to the nearest (ties
/// to even) as u8, of which low and high are at most 0 and 255; or the bare sum as s32.
struct Int8Epilogue {
  const std::uint8_t* residual = nullptr;  ///< of y's shape, or null; its zero point is in the bias
  float residual_scale = 0;
  float low = 0, high = 255;
  DType y = DType::u8;  ///< u8, f32, or i32
};

struct Int8Kernels {
  /// Bytes of a packed filter, and of the workspace of a convolution. Groups are not served: groups = 1.
  Required<std::size_t(const Conv2dGeometry&)> packed_bytes;
  Required<std::size_t(const Conv2dGeometry&)> workspace_bytes;
  /// The filter as `conv` of the same table reads it. `packed` is aligned to 64 bytes.
  Required<void(const Conv2dGeometry&, const Int8Filter&, void* packed)> pack;
  /// y [n, p, q, k] of x u8 [n, h, w, c]; `zero` is the one that the filter was packed with.
  Required<void(Stream, const Conv2dGeometry&, std::int32_t zero, const std::uint8_t* x, const void* packed,
                const Int8Epilogue&, void* y, void* workspace)>
      conv;
  /// q = clamp(round(x / scale) + zero, 0, 255), ties to even; NaN becomes 0.
  Required<void(Stream, std::int64_t n, Quantization, const float* x, std::uint8_t* y)> quantize;
  /// scale * (q - zero)
  Required<void(Stream, std::int64_t n, Quantization, const std::uint8_t* x, float* y)> dequantize;
  /// y = clamp(round(factor_a * a + factor_b * b + offset), low, 255): a sum of two tensors, a + b, in y's scale.
  Required<void(Stream, std::int64_t n, const std::uint8_t* a, float factor_a, const std::uint8_t* b, float factor_b,
                float offset, float low, std::uint8_t* y)>
      add;
  /// y[i, begin + j] = table[x[i, j]] for rows of `channels` values among rows of `stride`: any function of one
  /// element, such as another scale, written into its place among concatenated channels.
  Required<void(Stream, std::int64_t rows, std::int64_t channels, const std::uint8_t* table, const std::uint8_t* x,
                std::int64_t stride, std::int64_t begin, std::uint8_t* y)>
      lookup;
  Required<void(Stream, const Pool2dGeometry&, const std::uint8_t* x, std::uint8_t* y)> max_pool;
  /// y f32 [n, c] = the mean over h * w of scale * (x - zero), from an exact sum; h * w of at most 2^23.
  Required<void(Stream, std::int64_t n, std::int64_t pixels, std::int64_t c, Quantization, const std::uint8_t* x,
                float* y)>
      mean;
  /// y = scale[k] * round(x / scale[k]), ties to even, of a weight x f32 [rows, out] whose column k has the scale of
  /// its largest magnitude / 127; a column of zeros stays.
  Required<void(Stream, std::int64_t rows, std::int64_t out, const float* x, float* y)> round_weight;
};

/// The kernels of a device. Throws std::invalid_argument for one that has none: all but cpu and reference.
const Int8Kernels& int8_kernels_for(Device device);

}  // namespace retort
