// Inference in 8-bit integers: ops on u8 tensors, each of which has one scale and zero point (see kernels/int8.h). They
// record nothing, and run on the CPU.
#pragma once

#include <vector>

#include "engine/core/tensor.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/pool.h"
#include "kernels/int8.h"

namespace retort {

/// The kernels of a device, for `op`. Throws Error where it has none: all but the CPU.
const Int8Kernels& int8_kernels(const char* op, Device device);

/// x f32 or bf16 of any shape -> u8.
Tensor quantize(const Tensor& x, const Quantization& to);
/// x u8 of any shape -> f32.
Tensor dequantize(const Tensor& x, const Quantization& from);

/// A convolution's filter as the kernels read it, packed once.
struct PackedInt8Filter {
  Tensor memory;  ///< bytes
  const Int8Kernels* kernels = nullptr;
  std::int64_t r = 0, s = 0, c = 0, k = 0;
  Quantization input;
};

/// weight i8 [r, s, c, k], its scale and bias f32 [k]; `output` is that of a u8 result, or null for f32. `residual` is
/// what a tensor that is added has, or null.
struct Int8FilterParts {
  const Tensor &weight, &scale, &bias;
  Quantization input;
  const Quantization *output = nullptr, *residual = nullptr;
};
/// Throws Error where the sum of a filter could overflow 32 bits.
PackedInt8Filter pack_int8(const Int8FilterParts& parts, Device device);

/// What conv2d_int8 does besides the product.
struct Int8Options {
  Conv2dOptions conv;                                         ///< groups = 1
  const Quantization *output = nullptr, *residual = nullptr;  ///< those that the filter was packed for
};

/// relu(conv2d(x, weight) + bias + residual) of x u8 [n, h, w, c], as u8 or f32 [n, p, q, k].
Tensor conv2d_int8(const Tensor& x, const PackedInt8Filter& filter, const Int8Options& options,
                   const Tensor& residual = {});

/// a + b, then max(0, .) if relu. a, b u8 of one shape.
Tensor add_int8(const Tensor& a, const Quantization& from_a, const Tensor& b, const Quantization& from_b,
                const Quantization& to, bool relu);
/// The parts' channels side by side, each brought to the scale of the result.
Tensor concat_int8(const std::vector<Tensor>& parts, const std::vector<Quantization>& from, const Quantization& to);
/// x u8 [n, h, w, c] -> u8, of x's scale.
Tensor max_pool_int8(const Tensor& x, const PoolOptions& options);
/// x u8 [n, h, w, c] -> f32 [n, 1, 1, c], the mean of each map.
Tensor mean_int8(const Tensor& x, const Quantization& from);

}  // namespace retort
