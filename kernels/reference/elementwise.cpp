#include "kernels/reference/elementwise.h"

#include "kernels/bfloat16.h"

namespace retort::reference {

template <class T>
void fill(Stream, std::int64_t n, double value, void* y) {
  for (std::int64_t i = 0; i < n; ++i) static_cast<T*>(y)[i] = static_cast<T>(value);
}

template <class T>
void add(Stream, std::int64_t n, const void* a, const void* b, void* y) {
  for (std::int64_t i = 0; i < n; ++i)
    static_cast<T*>(y)[i] = static_cast<const T*>(a)[i] + static_cast<const T*>(b)[i];
}

template <class T>
void scale(Stream, std::int64_t n, double factor, const void* x, void* y) {
  for (std::int64_t i = 0; i < n; ++i) static_cast<T*>(y)[i] = static_cast<T>(factor * static_cast<const T*>(x)[i]);
}

template <class T>
void relu_forward(Stream, std::int64_t n, const void* x_, void* y) {
  const T* x = static_cast<const T*>(x_);
  for (std::int64_t i = 0; i < n; ++i) static_cast<T*>(y)[i] = x[i] < 0 ? 0 : x[i];  // a NaN is not below 0
}

template <class T>
void relu_backward(Stream, std::int64_t n, const void* y, const void* dy, void* dx) {
  for (std::int64_t i = 0; i < n; ++i)
    static_cast<T*>(dx)[i] = static_cast<const T*>(y)[i] > 0 ? static_cast<const T*>(dy)[i] : 0;
}

template <class T>
void copy_channels(Stream, const ChannelCopy& copy, const void* source, void* target) {
  for (std::int64_t row = 0; row < copy.rows; ++row)
    for (std::int64_t c = 0; c < copy.count; ++c)
      static_cast<T*>(target)[row * copy.target_channels + copy.target_begin + c] =
          static_cast<const T*>(source)[row * copy.source_channels + copy.source_begin + c];
}

void convert(Stream, std::int64_t n, DType from, const void* x, DType to, void* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double value = from == DType::f64   ? static_cast<const double*>(x)[i]
                         : from == DType::f32 ? double{static_cast<const float*>(x)[i]}
                                              : double{float{static_cast<const BFloat16*>(x)[i]}};
    switch (to) {
      case DType::f64: static_cast<double*>(y)[i] = value; break;
      case DType::f32: static_cast<float*>(y)[i] = static_cast<float>(value); break;
      default: static_cast<BFloat16*>(y)[i] = BFloat16(static_cast<float>(value));
    }
  }
}

template <class T>
void scale_by(Stream stream, std::int64_t n, const void* factor, const void* x, void* y) {
  scale<T>(stream, n, *static_cast<const T*>(factor), x, y);
}

std::size_t sum_rows_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

template <class T>
void sum_rows(Stream, std::int64_t rows, std::int64_t channels, const void* x, void* y, void*) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (std::int64_t row = 0; row < rows; ++row) sum += static_cast<const T*>(x)[row * channels + c];
    static_cast<T*>(y)[c] = static_cast<T>(sum);
  }
}

template <class T>
void shortcut_forward(Stream, const ShortcutGeometry& g, const void* x, void* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t k = 0; k < g.k; ++k) {
          const std::int64_t c = k - g.before();
          const T* pixel = static_cast<const T*>(x) + ((n * g.h + p * g.stride) * g.w + q * g.stride) * g.c;
          static_cast<T*>(y)[((n * g.p() + p) * g.q() + q) * g.k + k] = c >= 0 && c < g.c ? pixel[c] : 0;
        }
}

template <class T>
void shortcut_backward(Stream, const ShortcutGeometry& g, const void* dy, void* dx) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t row = 0; row < g.h; ++row)
      for (std::int64_t column = 0; column < g.w; ++column)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const bool taken = row % g.stride == 0 && column % g.stride == 0;
          const std::int64_t pixel = (n * g.p() + row / g.stride) * g.q() + column / g.stride;
          static_cast<T*>(dx)[((n * g.h + row) * g.w + column) * g.c + c] =
              taken ? static_cast<const T*>(dy)[pixel * g.k + g.before() + c] : 0;
        }
}

#define RETORT_INSTANTIATE(T)                                                               \
  template void fill<T>(Stream, std::int64_t, double, void*);                               \
  template void add<T>(Stream, std::int64_t, const void*, const void*, void*);              \
  template void scale<T>(Stream, std::int64_t, double, const void*, void*);                 \
  template void relu_forward<T>(Stream, std::int64_t, const void*, void*);                  \
  template void relu_backward<T>(Stream, std::int64_t, const void*, const void*, void*);    \
  template void copy_channels<T>(Stream, const ChannelCopy&, const void*, void*);           \
  template void scale_by<T>(Stream, std::int64_t, const void*, const void*, void*);         \
  template void sum_rows<T>(Stream, std::int64_t, std::int64_t, const void*, void*, void*); \
  template void shortcut_forward<T>(Stream, const ShortcutGeometry&, const void*, void*);   \
  template void shortcut_backward<T>(Stream, const ShortcutGeometry&, const void*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::reference
