// Pooling (contract: kernels/pool.h). One thread an output (forward) or an input (backward) of kN channels; backward
// gathers, so that no two threads write one element and the sum's order is fixed.
#include "kernels/pool.h"

#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

/// The real input elements [begin, end) under one output along one axis, and how many the padded input has there.
struct WindowExtent {
  int begin, end, padded;
};

/// Fixed windows along one axis.
struct Windows {
  int in, out, kernel, stride, pad;
  __device__ WindowExtent of(int p) const {
    const int begin = p * stride - pad, padded_end = begin + kernel < in + pad ? begin + kernel : in + pad;
    return {begin > 0 ? begin : 0, padded_end < in ? padded_end : in, padded_end - begin};
  }
  /// The first output whose window may hold input i, and the last.
  __device__ int first(int i) const { return i + pad < kernel ? 0 : (i + pad - kernel) / stride + 1; }
  __device__ int last(int i) const {
    const int p = (i + pad) / stride;
    return p < out ? p : out - 1;
  }
};

/// Adaptive windows along one axis: output p covers [floor(p in / out), ceil((p + 1) in / out)).
struct AdaptiveWindows {
  int in, out;
  __device__ WindowExtent of(int p) const {
    const int begin = static_cast<int>(std::int64_t{p} * in / out);
    const int end = static_cast<int>((std::int64_t{p + 1} * in + out - 1) / out);
    return {begin, end, end - begin};
  }
  __device__ int first(int i) const { return static_cast<int>(std::int64_t{i} * out / in); }
  __device__ int last(int i) const {
    const int p = static_cast<int>((std::int64_t{i + 1} * out - 1) / in);
    return p < out ? p : out - 1;
  }
};

/// Where the kN channels of a thread lie: item i of a grid [images][rows][columns][channels / kN].
struct Place {
  int image, row, column, channel;
  __device__ Place(std::int64_t i, int rows, int columns, int channels, int kN) {
    const unsigned per_pixel = static_cast<unsigned>(channels / kN), width = static_cast<unsigned>(columns);
    const unsigned per_image = static_cast<unsigned>(rows) * width * per_pixel;
    // Within an image 32 bits do, whose divisions are a third of the work.
    image = static_cast<int>(i / per_image);
    const unsigned within = static_cast<unsigned>(i - std::int64_t{image} * per_image), pixel = within / per_pixel;
    channel = static_cast<int>(within - pixel * per_pixel) * kN;
    row = static_cast<int>(pixel / width);
    column = static_cast<int>(pixel - static_cast<unsigned>(row) * width);
  }
};

template <class T, int kN>
__global__ void max_forward(std::int64_t packs, int channels, Windows rows, Windows columns, const T* x, T* y,
                            std::int32_t* index) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const Place place(i, rows.out, columns.out, channels, kN);
    const WindowExtent v = rows.of(place.row), h = columns.of(place.column);
    // No window is empty; the first element is the largest until another is.
    float largest[kN];
    std::int32_t at[kN];
    for (int j = 0; j < kN; ++j) {
      largest[j] = -INFINITY;
      at[j] = v.begin * columns.in + h.begin;
    }
    const T* const image = x + std::int64_t{place.image} * rows.in * columns.in * channels + place.channel;
    for (int row = v.begin; row < v.end; ++row)
      for (int column = h.begin; column < h.end; ++column) {
        const int pixel = row * columns.in + column;
        float values[kN];
        widen<T>(dev::load<Packed<T, kN>>(image + std::int64_t{pixel} * channels), values);
        for (int j = 0; j < kN; ++j) {
          const float value = values[j];
          if (value > largest[j] || (value != value && largest[j] == largest[j])) {
            largest[j] = value;
            at[j] = pixel;
          }
        }
      }
    dev::store(y + i * kN, narrow<T>(largest));
    if (index) store_elements(index + i * kN, at);
  }
}

template <class T, int kN>
__global__ void max_backward(std::int64_t packs, int channels, Windows rows, Windows columns, const T* dy,
                             const std::int32_t* index, T* dx) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const Place place(i, rows.in, columns.in, channels, kN);
    const int row = place.row, column = place.column;
    const int pixel = row * columns.in + column;
    float sum[kN];
    for (int j = 0; j < kN; ++j) sum[j] = 0;
    for (int p = rows.first(row); p <= rows.last(row); ++p)
      for (int q = columns.first(column); q <= columns.last(column); ++q) {
        const std::int64_t out =
            ((std::int64_t{place.image} * rows.out + p) * columns.out + q) * channels + place.channel;
        float gradient[kN];
        std::int32_t at[kN];
        widen<T>(dev::load<Packed<T, kN>>(dy + out), gradient);
        load_elements(index + out, at);
        for (int j = 0; j < kN; ++j)
          if (at[j] == pixel) sum[j] += gradient[j];
      }
    dev::store(dx + i * kN, narrow<T>(sum));
  }
}

/// By how much a sum over a window is divided.
__device__ inline float divisor(const WindowExtent& v, const WindowExtent& h, bool count_pad) {
  return static_cast<float>(count_pad ? v.padded * h.padded : (v.end - v.begin) * (h.end - h.begin));
}

template <class T, int kN, class W>
__global__ void average_forward(std::int64_t packs, int channels, W rows, W columns, bool count_pad, const T* x, T* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const Place place(i, rows.out, columns.out, channels, kN);
    const WindowExtent v = rows.of(place.row), h = columns.of(place.column);
    const T* const image = x + std::int64_t{place.image} * rows.in * columns.in * channels + place.channel;
    float sum[kN];
    for (int j = 0; j < kN; ++j) sum[j] = 0;
    for (int row = v.begin; row < v.end; ++row)
      for (int column = h.begin; column < h.end; ++column) {
        float values[kN];
        widen<T>(dev::load<Packed<T, kN>>(image + (std::int64_t{row} * columns.in + column) * channels), values);
        for (int j = 0; j < kN; ++j) sum[j] += values[j];
      }
    for (int j = 0; j < kN; ++j) sum[j] /= divisor(v, h, count_pad);
    dev::store(y + i * kN, narrow<T>(sum));
  }
}

template <class T, int kN, class W>
__global__ void average_backward(std::int64_t packs, int channels, W rows, W columns, bool count_pad, const T* dy,
                                 T* dx) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const Place place(i, rows.in, columns.in, channels, kN);
    const int row = place.row, column = place.column;
    float sum[kN];
    for (int j = 0; j < kN; ++j) sum[j] = 0;
    for (int p = rows.first(row); p <= rows.last(row); ++p)
      for (int q = columns.first(column); q <= columns.last(column); ++q) {
        const WindowExtent v = rows.of(p), h = columns.of(q);
        if (row < v.begin || row >= v.end || column < h.begin || column >= h.end) continue;
        const std::int64_t out =
            ((std::int64_t{place.image} * rows.out + p) * columns.out + q) * channels + place.channel;
        float gradient[kN];
        widen<T>(dev::load<Packed<T, kN>>(dy + out), gradient);
        for (int j = 0; j < kN; ++j) sum[j] += gradient[j] / divisor(v, h, count_pad);
      }
    dev::store(dx + i * kN, narrow<T>(sum));
  }
}

Windows rows_of(const Pool2dGeometry& g) {
  return {static_cast<int>(g.h), static_cast<int>(g.p()), static_cast<int>(g.kernel_h), static_cast<int>(g.stride_h),
          static_cast<int>(g.pad_h)};
}
Windows columns_of(const Pool2dGeometry& g) {
  return {static_cast<int>(g.w), static_cast<int>(g.q()), static_cast<int>(g.kernel_w), static_cast<int>(g.stride_w),
          static_cast<int>(g.pad_w)};
}
AdaptiveWindows rows_of(const AdaptivePoolGeometry& g) { return {static_cast<int>(g.h), static_cast<int>(g.p)}; }
AdaptiveWindows columns_of(const AdaptivePoolGeometry& g) { return {static_cast<int>(g.w), static_cast<int>(g.q)}; }

template <class T>
bool wide(std::int64_t channels, const T* a, const T* b) {
  return channels % kPack<T> == 0 && aligned16(a) && aligned16(b);
}
/// Likewise, with indices.
template <class T>
bool wide(std::int64_t channels, const T* a, const T* b, const std::int32_t* index) {
  return wide(channels, a, b) && aligned16(index);
}

template <class T, class W>
void launch_average_forward(Stream stream, std::int64_t images, std::int64_t channels, W rows, W columns,
                            bool count_pad, const T* x, T* y) {
  const bool by_packs = wide<T>(channels, x, y);
  const std::int64_t packs = images * rows.out * columns.out * channels / (by_packs ? kPack<T> : 1);
  dev::launch("average_pool_forward", by_packs ? average_forward<T, kPack<T>, W> : average_forward<T, 1, W>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, static_cast<int>(channels), rows, columns,
              count_pad, x, y);
}

template <class T, class W>
void launch_average_backward(Stream stream, std::int64_t images, std::int64_t channels, W rows, W columns,
                             bool count_pad, const T* dy, T* dx) {
  const bool by_packs = wide<T>(channels, dy, dx);
  const std::int64_t packs = images * rows.in * columns.in * channels / (by_packs ? kPack<T> : 1);
  dev::launch("average_pool_backward", by_packs ? average_backward<T, kPack<T>, W> : average_backward<T, 1, W>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, static_cast<int>(channels), rows, columns,
              count_pad, dy, dx);
}

template <class T>
void max_pool_forward(Stream stream, const Pool2dGeometry& g, const T* x, T* y, std::int32_t* index) {
  const bool by_packs = wide<T>(g.c, x, y, index);
  const std::int64_t packs = g.n * g.p() * g.q() * g.c / (by_packs ? kPack<T> : 1);
  dev::launch("max_pool_forward", by_packs ? max_forward<T, kPack<T>> : max_forward<T, 1>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, static_cast<int>(g.c), rows_of(g),
              columns_of(g), x, y, index);
}

template <class T>
void max_pool_backward(Stream stream, const Pool2dGeometry& g, const T* dy, const std::int32_t* index, T* dx) {
  const bool by_packs = wide<T>(g.c, dy, dx, index);
  const std::int64_t packs = g.n * g.h * g.w * g.c / (by_packs ? kPack<T> : 1);
  dev::launch("max_pool_backward", by_packs ? max_backward<T, kPack<T>> : max_backward<T, 1>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, static_cast<int>(g.c), rows_of(g),
              columns_of(g), dy, index, dx);
}

template <class T>
void average_pool_forward(Stream stream, const Pool2dGeometry& g, const T* x, T* y) {
  launch_average_forward<T>(stream, g.n, g.c, rows_of(g), columns_of(g), g.count_include_pad, x, y);
}

template <class T>
void average_pool_backward(Stream stream, const Pool2dGeometry& g, const T* dy, T* dx) {
  launch_average_backward<T>(stream, g.n, g.c, rows_of(g), columns_of(g), g.count_include_pad, dy, dx);
}

template <class T>
void adaptive_pool_forward(Stream stream, const AdaptivePoolGeometry& g, const T* x, T* y) {
  launch_average_forward<T>(stream, g.n, g.c, rows_of(g), columns_of(g), true, x, y);
}

template <class T>
void adaptive_pool_backward(Stream stream, const AdaptivePoolGeometry& g, const T* dy, T* dx) {
  launch_average_backward<T>(stream, g.n, g.c, rows_of(g), columns_of(g), true, dy, dx);
}

}  // namespace

template <class T>
PoolKernels pool() {
  return {.max_forward = entry<max_pool_forward<T>>,
          .max_backward = entry<max_pool_backward<T>>,
          .average_forward = entry<average_pool_forward<T>>,
          .average_backward = entry<average_pool_backward<T>>,
          .adaptive_forward = entry<adaptive_pool_forward<T>>,
          .adaptive_backward = entry<adaptive_pool_backward<T>>};
}
template PoolKernels pool<float>();
template PoolKernels pool<BFloat16>();

}  // namespace retort::RETORT_BACKEND
