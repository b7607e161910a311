// Windows of images and factors of channels (contract: kernels/spatial.h). Neighbouring threads take neighbouring
// channels, so that accesses join.
#include "kernels/spatial.h"

#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void window_kernel(WindowGeometry g, const T* x, T* y) {
  const std::int64_t n = g.n * g.p * g.q * g.c, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t c = i % g.c, pixel = i / g.c;
    const std::int64_t column = pixel % g.q - g.left, row = pixel / g.q % g.p - g.top, image = pixel / (g.q * g.p);
    const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
    y[i] = inside ? x[((image * g.h + row) * g.w + column) * g.c + c] : T(static_cast<float>(g.fill));
  }
}

struct Times {
  __device__ float operator()(float a, float b) const { return a * b; }
};

/// y = f(x, s), s one a channel of each image.
template <class T, class F>
__global__ void factors_kernel(FactorGeometry g, F f, const T* x, const T* s, T* y) {
  const std::int64_t n = g.n * g.pixels * g.channels, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t c = i % g.channels, image = i / g.channels / g.pixels;
    y[i] = T(f(float(x[i]), float(s[image * g.channels + c])));
  }
}

/// One thread a channel of an image; 64 pixels are added in float, these sums in double.
template <class T>
__global__ void multiply_sum_kernel(FactorGeometry g, const T* a, const T* b, T* y) {
  const std::int64_t n = g.n * g.channels, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t c = i % g.channels, image = i / g.channels;
    double sum = 0;
    float block = 0;
    for (std::int64_t pixel = 0; pixel < g.pixels; ++pixel) {
      const std::int64_t at = (image * g.pixels + pixel) * g.channels + c;
      block += float(a[at]) * float(b[at]);
      if (pixel % 64 != 63) continue;
      sum += double(block);
      block = 0;
    }
    y[i] = T(static_cast<float>(sum + double(block)));
  }
}

template <class T>
void window(Stream stream, const WindowGeometry& g, const T* x, T* y) {
  const std::int64_t n = g.n * g.p * g.q * g.c;
  if (n > 0) dev::launch("window", window_kernel<T>, {{blocks_for(n, kThreads)}, {kThreads}}, stream, g, x, y);
}

template <class T>
void multiply(Stream stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  const std::int64_t n = g.n * g.pixels * g.channels;
  if (n > 0)
    dev::launch("multiply", factors_kernel<T, Times>, {{blocks_for(n, kThreads)}, {kThreads}}, stream, g, Times{}, x, s,
                y);
}

template <class T>
void add(Stream stream, const FactorGeometry& g, const T* x, const T* s, T* y) {
  const std::int64_t n = g.n * g.pixels * g.channels;
  if (n > 0)
    dev::launch("add_factors", factors_kernel<T, Sum>, {{blocks_for(n, kThreads)}, {kThreads}}, stream, g, Sum{}, x, s,
                y);
}

template <class T>
void multiply_sum(Stream stream, const FactorGeometry& g, const T* a, const T* b, T* y) {
  const std::int64_t n = g.n * g.channels;
  if (n > 0)
    dev::launch("multiply_sum", multiply_sum_kernel<T>, {{blocks_for(n, kThreads)}, {kThreads}}, stream, g, a, b, y);
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
template SpatialKernels spatial<BFloat16>();

}  // namespace retort::RETORT_BACKEND
