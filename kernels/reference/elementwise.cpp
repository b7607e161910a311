// The oracle's elementwise kernels, channel copies and shortcut (contract: kernels/elementwise.h).
#include "kernels/elementwise.h"

#include "kernels/entry.h"

namespace retort::reference {
namespace {

template <class T>
void fill(Stream, std::int64_t n, double value, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(value);
}

template <class T>
void add(Stream, std::int64_t n, const T* a, const T* b, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

template <class T>
void scale(Stream, std::int64_t n, double factor, const T* x, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(factor * x[i]);
}

template <class T>
void scale_by(Stream stream, std::int64_t n, const T* factor, const T* x, T* y) {
  scale<T>(stream, n, *factor, x, y);
}

template <class T>
void relu_forward(Stream, std::int64_t n, const T* x, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] < 0 ? 0 : x[i];  // a NaN is not below 0
}

template <class T>
void relu_backward(Stream, std::int64_t n, const T* y, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
}

template <class T>
void copy_channels(Stream, const ChannelCopy& copy, const T* source, T* target) {
  for (std::int64_t row = 0; row < copy.rows; ++row)
    for (std::int64_t c = 0; c < copy.count; ++c)
      target[row * copy.target_channels + copy.target_begin + c] =
          source[row * copy.source_channels + copy.source_begin + c];
}

template <class From, class To>
void convert_elements(std::int64_t n, const From* x, To* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<To, BFloat16>)
      y[i] = BFloat16(static_cast<float>(x[i]));
    else
      y[i] = static_cast<To>(x[i]);
  }
}

template <class From>
void convert_from(std::int64_t n, const From* x, DType to, void* y) {
  switch (to) {
    case DType::f64: return convert_elements(n, x, static_cast<double*>(y));
    case DType::f32: return convert_elements(n, x, static_cast<float*>(y));
    default: return convert_elements(n, x, static_cast<BFloat16*>(y));
  }
}

/// The dtypes are known at run time alone, so the pointers stay untyped up to here.
void convert(Stream, std::int64_t n, DType from, const void* x, DType to, void* y) {
  switch (from) {
    case DType::f64: return convert_from(n, static_cast<const double*>(x), to, y);
    case DType::f32: return convert_from(n, static_cast<const float*>(x), to, y);
    default: return convert_from(n, static_cast<const BFloat16*>(x), to, y);
  }
}

std::size_t sum_rows_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

template <class T>
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const T* x, T* y, void*) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (std::int64_t row = 0; row < rows; ++row) sum += x[row * channels + c];
    y[c] = static_cast<T>(sum);
  }
}

template <class T>
void shortcut_forward(Stream, const ShortcutGeometry& g, const T* x, T* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t k = 0; k < g.k; ++k) {
          const std::int64_t c = k - g.before();
          const T* pixel = x + ((n * g.h + p * g.stride) * g.w + q * g.stride) * g.c;
          y[((n * g.p() + p) * g.q() + q) * g.k + k] = c >= 0 && c < g.c ? pixel[c] : 0;
        }
}

template <class T>
void shortcut_backward(Stream, const ShortcutGeometry& g, const T* dy, T* dx) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t row = 0; row < g.h; ++row)
      for (std::int64_t column = 0; column < g.w; ++column)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const bool taken = row % g.stride == 0 && column % g.stride == 0;
          const std::int64_t pixel = (n * g.p() + row / g.stride) * g.q() + column / g.stride;
          dx[((n * g.h + row) * g.w + column) * g.c + c] = taken ? dy[pixel * g.k + g.before() + c] : 0;
        }
}

}  // namespace

template <class T>
ElementwiseKernels elementwise() {
  return {.fill = entry<fill<T>>,
          .add = entry<add<T>>,
          .scale = entry<scale<T>>,
          .relu_forward = entry<relu_forward<T>>,
          .relu_backward = entry<relu_backward<T>>,
          .copy_channels = entry<copy_channels<T>>,
          .convert = convert,
          .scale_by = entry<scale_by<T>>,
          .sum_rows_workspace_bytes = sum_rows_workspace_bytes,
          .sum_rows = entry<sum_rows<T>>,
          .shortcut_forward = entry<shortcut_forward<T>>,
          .shortcut_backward = entry<shortcut_backward<T>>};
}
template ElementwiseKernels elementwise<float>();
template ElementwiseKernels elementwise<double>();

}  // namespace retort::reference
