// Training as 8 bits will compute: values in float that take only what an 8-bit integer holds (Jacob et al., arXiv
// 1712.05877), with the gradient of what was not rounded (Bengio et al., arXiv 1308.3432). f32, on the CPU.
#pragma once

#include "engine/core/tensor.h"
#include "kernels/int8.h"

namespace retort {

/// dequantize(quantize(x)); x of any shape. The gradient is 0 where x lies outside of what the form holds.
Tensor fake_quantize(const Tensor& x, const Quantization& form);

/// A weight [..., out] in steps of its output channel's largest magnitude / 127.
Tensor fake_quantize_weight(const Tensor& weight);

}  // namespace retort
