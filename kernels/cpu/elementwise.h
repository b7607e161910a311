// Elementwise kernels, channel copies and the option A shortcut on the CPU, f32 (contracts: kernels/elementwise.h).
#pragma once

#include "kernels/elementwise.h"

namespace retort::cpu {

void fill(Stream, std::int64_t n, double value, void* y);
void add(Stream, std::int64_t n, const void* a, const void* b, void* y);
void scale(Stream, std::int64_t n, double factor, const void* x, void* y);
void scale_by(Stream, std::int64_t n, const void* factor, const void* x, void* y);
void relu_forward(Stream, std::int64_t n, const void* x, void* y);
void relu_backward(Stream, std::int64_t n, const void* y, const void* dy, void* dx);
void copy_channels(Stream, const ChannelCopy& copy, const void* source, void* target);
/// Sums blocks of 64 rows in float and the blocks in double; the result does not depend on the number of threads.
std::size_t sum_rows_workspace_bytes(std::int64_t rows, std::int64_t channels);
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void*);
void shortcut_forward(Stream, const ShortcutGeometry& g, const void* x, void* y);
void shortcut_backward(Stream, const ShortcutGeometry& g, const void* dy, void* dx);

}  // namespace retort::cpu
