// The oracle's convolution (contract: kernels/conv2d.h): seven loops, each output element summed in double.
#include "kernels/conv2d.h"

#include "kernels/entry.h"

namespace retort::reference {
namespace {

std::int64_t x_at(const Conv2dGeometry& g, std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t c) {
  return ((n * g.h + row) * g.w + column) * g.c + c;
}

std::int64_t y_at(const Conv2dGeometry& g, std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t k) {
  return ((n * g.p() + p) * g.q() + q) * g.k + k;
}

/// c counts within the group.
std::int64_t w_at(const Conv2dGeometry& g, std::int64_t r, std::int64_t s, std::int64_t c, std::int64_t k) {
  return ((r * g.s + s) * g.c_per_group() + c) * g.k + k;
}

bool inside(std::int64_t i, std::int64_t extent) { return i >= 0 && i < extent; }

/// A ConvEpilogue of T.
template <class T>
struct TypedEpilogue {
  const T *scale, *bias, *residual;
  bool relu;
  double ceiling;
  explicit TypedEpilogue(const ConvEpilogue& e)
      : scale(static_cast<const T*>(e.scale)),
        bias(static_cast<const T*>(e.bias)),
        residual(static_cast<const T*>(e.residual)),
        relu(e.relu),
        ceiling(e.ceiling) {}
  double operator()(double value) const {
    if (!relu) return value;
    return value < 0 ? 0 : value > ceiling ? ceiling : value;  // a NaN is neither
  }
};

std::size_t workspace_bytes(ConvPass, const Conv2dGeometry&) { return 0; }

template <class T>
void fprop(Stream, const Conv2dGeometry& g, const T* x, const T* w, const ConvEpilogue& epilogue, T* y, void*) {
  const TypedEpilogue<T> e(epilogue);
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t p = 0; p < g.p(); ++p)
      for (std::int64_t q = 0; q < g.q(); ++q)
        for (std::int64_t k = 0; k < g.k; ++k) {
          const std::int64_t group = k / g.k_per_group();
          double sum = 0;
          for (std::int64_t r = 0; r < g.r; ++r)
            for (std::int64_t s = 0; s < g.s; ++s) {
              const std::int64_t row = p * g.stride_h - g.pad_h + r * g.dilation_h;
              const std::int64_t column = q * g.stride_w - g.pad_w + s * g.dilation_w;
              if (!inside(row, g.h) || !inside(column, g.w)) continue;
              for (std::int64_t c = 0; c < g.c_per_group(); ++c)
                sum += double{x[x_at(g, n, row, column, group * g.c_per_group() + c)]} * w[w_at(g, r, s, c, k)];
            }
          const std::int64_t i = y_at(g, n, p, q, k);
          const double value =
              sum * (e.scale ? e.scale[k] : 1) + (e.bias ? e.bias[k] : 0) + (e.residual ? e.residual[i] : 0);
          y[i] = static_cast<T>(e(value));
        }
}

// dx[n, row, column, c] gathers every output whose window covers it: p * stride = row + pad - r * dilation.
template <class T>
void dgrad(Stream, const Conv2dGeometry& g, const T* dy, const T* w, T* dx, void*) {
  for (std::int64_t n = 0; n < g.n; ++n)
    for (std::int64_t row = 0; row < g.h; ++row)
      for (std::int64_t column = 0; column < g.w; ++column)
        for (std::int64_t c = 0; c < g.c; ++c) {
          const std::int64_t group = c / g.c_per_group();
          double sum = 0;
          for (std::int64_t r = 0; r < g.r; ++r)
            for (std::int64_t s = 0; s < g.s; ++s) {
              const std::int64_t top = row + g.pad_h - r * g.dilation_h, left = column + g.pad_w - s * g.dilation_w;
              if (top % g.stride_h != 0 || left % g.stride_w != 0) continue;
              const std::int64_t p = top / g.stride_h, q = left / g.stride_w;
              if (!inside(p, g.p()) || !inside(q, g.q())) continue;
              for (std::int64_t i = 0; i < g.k_per_group(); ++i) {
                const std::int64_t k = group * g.k_per_group() + i;
                sum += double{dy[y_at(g, n, p, q, k)]} * w[w_at(g, r, s, c % g.c_per_group(), k)];
              }
            }
          dx[x_at(g, n, row, column, c)] = static_cast<T>(sum);
        }
}

template <class T>
void wgrad(Stream, const Conv2dGeometry& g, const T* x, const T* dy, T* dw, void*) {
  for (std::int64_t r = 0; r < g.r; ++r)
    for (std::int64_t s = 0; s < g.s; ++s)
      for (std::int64_t c = 0; c < g.c_per_group(); ++c)
        for (std::int64_t k = 0; k < g.k; ++k) {
          const std::int64_t group = k / g.k_per_group();
          double sum = 0;
          for (std::int64_t n = 0; n < g.n; ++n)
            for (std::int64_t p = 0; p < g.p(); ++p)
              for (std::int64_t q = 0; q < g.q(); ++q) {
                const std::int64_t row = p * g.stride_h - g.pad_h + r * g.dilation_h;
                const std::int64_t column = q * g.stride_w - g.pad_w + s * g.dilation_w;
                if (!inside(row, g.h) || !inside(column, g.w)) continue;
                sum += double{x[x_at(g, n, row, column, group * g.c_per_group() + c)]} * dy[y_at(g, n, p, q, k)];
              }
          dw[w_at(g, r, s, c, k)] = static_cast<T>(sum);
        }
}

}  // namespace

template <class T>
Conv2dKernels conv2d() {
  return {.workspace_bytes = workspace_bytes,
          .fprop = entry<fprop<T>>,
          .dgrad = entry<dgrad<T>>,
          .wgrad = entry<wgrad<T>>,
          .uneven_padding = true};
}
template Conv2dKernels conv2d<float>();
template Conv2dKernels conv2d<double>();

}  // namespace retort::reference
