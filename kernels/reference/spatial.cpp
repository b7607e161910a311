// The oracle's windows and factors (contract: kernels/spatial.h).
#include "kernels/spatial.h"

#include "kernels/entry.h"

namespace retort::reference {
namespace {

template <class T>
void window(Stream, const WindowGeometry& g, const T* x, T* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t i = 0; i < g.p; ++i)
      for (std::int64_t j = 0; j < g.q; ++j)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const std::int64_t row = i - g.top, column = j - g.left;
          const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
          y[((n * g.p + i) * g.q + j) * g.c + c] =
              inside ? x[((n * g.h + row) * g.w + column) * g.c + c] : static_cast<T>(g.fill);
        }
}

template <class T>
void multiply(Stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t i = 0; i < g.pixels; ++i)
      for (std::int64_t c = 0; c < g.channels; ++c) {
        const std::int64_t at = (n * g.pixels + i) * g.channels + c;
        y[at] = x[at] * s[n * g.channels + c];
      }
}

template <class T>
void add(Stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t i = 0; i < g.pixels; ++i)
      for (std::int64_t c = 0; c < g.channels; ++c) {
        const std::int64_t at = (n * g.pixels + i) * g.channels + c;
        y[at] = x[at] + s[n * g.channels + c];
      }
}

template <class T>
void multiply_sum(Stream, const FactorGeometry& g, const T* a, const T* b, T* y) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t c = 0; c < g.channels; ++c) {
      double sum = 0;
      for (std::int64_t i = 0; i < g.pixels; ++i) {
        const std::int64_t at = (n * g.pixels + i) * g.channels + c;
        sum += double{a[at]} * b[at];
      }
      y[n * g.channels + c] = static_cast<T>(sum);
    }
}

}  // namespace

template <class T>
SpatialKernels spatial() {
  return {.window = entry<window<T>>,
          .multiply = entry<multiply<T>>,
          .add = entry<add<T>>,
          .multiply_sum = entry<multiply_sum<T>>};
}
template SpatialKernels spatial<float>();
template SpatialKernels spatial<double>();

}  // namespace retort::reference
