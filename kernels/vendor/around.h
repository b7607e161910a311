// What has to happen around the libraries' calls for them to keep our contracts.
#pragma once

#include "kernels/types.h"

namespace retort::vendor {

/// y[row, c] = y[row, c] + bias[c], then max(0, y) if relu; bias is f32 or null, y f32 or bf16.
void add_bias_relu(Stream, std::int64_t rows, std::int64_t channels, const void* bias, bool relu, DType dtype, void* y);

/// target [columns, rows] = the transpose of source [rows, columns], from f32 to f32 or from bf16 to either.
void transpose(Stream, std::int64_t rows, std::int64_t columns, DType from, const void* source, DType to, void* target);

}  // namespace retort::vendor
