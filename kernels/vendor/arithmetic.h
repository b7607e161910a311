// How products are multiplied, as in kernels/cuda/conv2d-inl.h, in the form that the libraries' wrappers switch on.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace retort::vendor {

enum class Arithmetic : std::uint8_t { f32, tf32, bf16 };

constexpr DType dtype_of(Arithmetic arithmetic) { return arithmetic == Arithmetic::bf16 ? DType::bf16 : DType::f32; }

}  // namespace retort::vendor
