// Elementwise kernels, channel copies and the option A shortcut on the CPU, T: float or BFloat16 (contracts:
// kernels/elementwise.h).
#pragma once

#include "kernels/elementwise.h"

namespace retort::cpu {

template <class T>
void fill(Stream, std::int64_t n, double value, void* y);
template <class T>
void add(Stream, std::int64_t n, const void* a, const void* b, void* y);
template <class T>
void scale(Stream, std::int64_t n, double factor, const void* x, void* y);
template <class T>
void scale_by(Stream, std::int64_t n, const void* factor, const void* x, void* y);
template <class T>
void relu_forward(Stream, std::int64_t n, const void* x, void* y);
template <class T>
void relu_backward(Stream, std::int64_t n, const void* y, const void* dy, void* dx);
template <class T>
void copy_channels(Stream, const ChannelCopy& copy, const void* source, void* target);
/// Between f32 and bf16 with vectors and threads, else as the reference does.
void convert(Stream, std::int64_t n, DType from, const void* x, DType to, void* y);
/// Sums blocks of 64 rows in float and the blocks in double; the result does not depend on the number of threads.
std::size_t sum_rows_workspace_bytes(std::int64_t rows, std::int64_t channels);
template <class T>
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void*);
template <class T>
void shortcut_forward(Stream, const ShortcutGeometry& g, const void* x, void* y);
template <class T>
void shortcut_backward(Stream, const ShortcutGeometry& g, const void* dy, void* dx);

}  // namespace retort::cpu
