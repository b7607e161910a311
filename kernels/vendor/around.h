// Kernels around the libraries' calls, which make those keep our contracts.
#pragma once

#include "kernels/conv2d.h"

namespace retort::vendor {

/// Applies the epilogue to the sums in y [rows, channels], f32 or bf16.
void finish(Stream, std::int64_t rows, std::int64_t channels, const ConvEpilogue& epilogue, DType dtype, void* y);

/// target [columns, rows] = the transpose of source [rows, columns], from f32 to f32 or from bf16 to either.
void transpose(Stream, std::int64_t rows, std::int64_t columns, DType from, const void* source, DType to, void* target);

}  // namespace retort::vendor
