// The oracle's pooling (contract: kernels/pool.h): each output looks at its window, each input at every output.
#include "kernels/pool.h"

#include <algorithm>
#include <cmath>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

/// The real input elements under one output, and what the sum is divided by when averaging.
struct Window {
  std::int64_t top, bottom, left, right;  // half open
  std::int64_t divisor;
};

Window window(const Pool2dGeometry& g, std::int64_t p, std::int64_t q) {
  const std::int64_t top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
  const std::int64_t padded_bottom = std::min(top + g.kernel_h, g.h + g.pad_h);
  const std::int64_t padded_right = std::min(left + g.kernel_w, g.w + g.pad_w);
  Window w{std::max<std::int64_t>(top, 0), std::min(padded_bottom, g.h), std::max<std::int64_t>(left, 0),
           std::min(padded_right, g.w), (padded_bottom - top) * (padded_right - left)};
  if (!g.count_include_pad) w.divisor = (w.bottom - w.top) * (w.right - w.left);
  return w;
}

Window window(const AdaptivePoolGeometry& g, std::int64_t p, std::int64_t q) {
  Window w{p * g.h / g.p, ((p + 1) * g.h + g.p - 1) / g.p, q * g.w / g.q, ((q + 1) * g.w + g.q - 1) / g.q, 0};
  w.divisor = (w.bottom - w.top) * (w.right - w.left);
  return w;
}

std::int64_t rows_out(const Pool2dGeometry& g) { return g.p(); }
std::int64_t rows_out(const AdaptivePoolGeometry& g) { return g.p; }
std::int64_t columns_out(const Pool2dGeometry& g) { return g.q(); }
std::int64_t columns_out(const AdaptivePoolGeometry& g) { return g.q; }

template <class T, class Geometry>
void average_forward(Stream, const Geometry& g, const T* x, T* y) {
  const std::int64_t rows = rows_out(g), columns = columns_out(g);
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < rows; ++p)
      for (std::int64_t q = 0; q < columns; ++q)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const Window w = window(g, p, q);
          double sum = 0;
          for (std::int64_t i = w.top; i < w.bottom; ++i)
            for (std::int64_t j = w.left; j < w.right; ++j) sum += x[((n * g.h + i) * g.w + j) * g.c + c];
          y[((n * rows + p) * columns + q) * g.c + c] = static_cast<T>(sum / static_cast<double>(w.divisor));
        }
}

// Every input element asks every output whether its window covers it: slow, and needs no accumulation in T.
template <class T, class Geometry>
void average_backward(Stream, const Geometry& g, const T* dy, T* dx) {
  const std::int64_t rows = rows_out(g), columns = columns_out(g);
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t i = 0; i < g.h; ++i)
      for (std::int64_t j = 0; j < g.w; ++j)
        for (std::int64_t c = 0; c < g.c; ++c) {
          double sum = 0;
          for (std::int64_t p = 0; p < rows; ++p)
            for (std::int64_t q = 0; q < columns; ++q) {
              const Window w = window(g, p, q);
              if (i >= w.top && i < w.bottom && j >= w.left && j < w.right)
                sum += dy[((n * rows + p) * columns + q) * g.c + c] / static_cast<double>(w.divisor);
            }
          dx[((n * g.h + i) * g.w + j) * g.c + c] = static_cast<T>(sum);
        }
}

template <class T>
void max_forward(Stream, const Pool2dGeometry& g, const T* x, T* y, std::int32_t* index) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const Window w = window(g, p, q);
          std::int64_t first = w.top * g.w + w.left;
          T largest = x[(n * g.h * g.w + first) * g.c + c];
          for (std::int64_t i = w.top; i < w.bottom; ++i)
            for (std::int64_t j = w.left; j < w.right; ++j) {
              const T value = x[((n * g.h + i) * g.w + j) * g.c + c];
              if (value > largest || (std::isnan(value) && !std::isnan(largest))) {
                largest = value;
                first = i * g.w + j;
              }
            }
          const std::int64_t out = ((n * g.p() + p) * g.q() + q) * g.c + c;
          y[out] = largest;
          if (index) index[out] = static_cast<std::int32_t>(first);
        }
}

template <class T>
void max_backward(Stream, const Pool2dGeometry& g, const T* dy, const std::int32_t* index, T* dx) {
  const std::int64_t outputs = g.p() * g.q();
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t pixel = 0; pixel < g.h * g.w; ++pixel)
      for (std::int64_t c = 0; c < g.c; ++c) {
        double sum = 0;
        for (std::int64_t out = 0; out < outputs; ++out) {
          const std::int64_t i = (n * outputs + out) * g.c + c;
          if (index[i] == pixel) sum += dy[i];
        }
        dx[(n * g.h * g.w + pixel) * g.c + c] = static_cast<T>(sum);
      }
}

}  // namespace

template <class T>
PoolKernels pool() {
  return {.max_forward = entry<max_forward<T>>,
          .max_backward = entry<max_backward<T>>,
          .average_forward = entry<average_forward<T, Pool2dGeometry>>,
          .average_backward = entry<average_backward<T, Pool2dGeometry>>,
          .adaptive_forward = entry<average_forward<T, AdaptivePoolGeometry>>,
          .adaptive_backward = entry<average_backward<T, AdaptivePoolGeometry>>};
}
template PoolKernels pool<float>();
template PoolKernels pool<double>();

}  // namespace retort::reference
