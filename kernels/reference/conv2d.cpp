#include "kernels/reference/conv2d.h"

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

}  // namespace

std::size_t conv2d_workspace_bytes(ConvPass, const Conv2dGeometry&) { return 0; }

template <class T>
void conv2d_fprop(Stream, const Conv2dGeometry& g, const void* x_, const void* w_, const ConvEpilogue& epilogue,
                  void* y_, void*) {
  const T* x = static_cast<const T*>(x_);
  const T* w = static_cast<const T*>(w_);
  const T* scale = static_cast<const T*>(epilogue.scale);
  const T* bias = static_cast<const T*>(epilogue.bias);
  const T* residual = static_cast<const T*>(epilogue.residual);
  T* y = static_cast<T*>(y_);
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
          const double value = sum * (scale ? scale[k] : 1) + (bias ? bias[k] : 0) + (residual ? residual[i] : 0);
          y[i] = static_cast<T>(epilogue.relu && value < 0 ? 0 : value);
        }
}

// dx[n, row, column, c] gathers every output whose window covers it: p * stride = row + pad - r * dilation.
template <class T>
void conv2d_dgrad(Stream, const Conv2dGeometry& g, const void* dy_, const void* w_, void* dx_, void*) {
  const T* dy = static_cast<const T*>(dy_);
  const T* w = static_cast<const T*>(w_);
  T* dx = static_cast<T*>(dx_);
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
void conv2d_wgrad(Stream, const Conv2dGeometry& g, const void* x_, const void* dy_, void* dw_, void*) {
  const T* x = static_cast<const T*>(x_);
  const T* dy = static_cast<const T*>(dy_);
  T* dw = static_cast<T*>(dw_);
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

#define RETORT_INSTANTIATE(T)                                                                                        \
  template void conv2d_fprop<T>(Stream, const Conv2dGeometry&, const void*, const void*, const ConvEpilogue&, void*, \
                                void*);                                                                              \
  template void conv2d_dgrad<T>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);              \
  template void conv2d_wgrad<T>(Stream, const Conv2dGeometry&, const void*, const void*, void*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::reference
