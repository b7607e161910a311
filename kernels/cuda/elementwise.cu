// Maps over contiguous elements, copies of channels, option A's shortcut (contract: kernels/elementwise.h). All are
// bound by memory: 16 bytes an access wherever pointers and extents allow.
#include "kernels/elementwise.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

/// y[i] = f(a[i], b[i]); the first `packs` groups of kPack by wide accesses, the rest one by one. y may be a or b.
template <class T, class F>
__global__ void map(std::int64_t n, std::int64_t packs, const T* a, const T* b, T* y, F f) {
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < packs; i += stride) {
    const auto left = dev::load<Packed<T, kPack<T>>>(a + i * kPack<T>);
    const auto right = dev::load<Packed<T, kPack<T>>>(b + i * kPack<T>);
    float out[kPack<T>], other[kPack<T>];
    widen<T>(left, out);
    widen<T>(right, other);
    for (int j = 0; j < kPack<T>; ++j) out[j] = f(out[j], other[j]);
    dev::store(y + i * kPack<T>, narrow<T>(out));
  }
  for (std::int64_t i = packs * kPack<T> + first; i < n; i += stride) y[i] = T(f(float(a[i]), float(b[i])));
}

template <class T, class F>
void launch_map(const char* name, Stream stream, std::int64_t n, const T* a, const T* b, T* y, F f) {
  if (n == 0) return;
  const std::int64_t packs = aligned16(a) && aligned16(b) && aligned16(y) ? n / kPack<T> : 0;
  dev::launch(name, map<T, F>, {{blocks_for(n, kThreads * kPack<T>)}, {kThreads}}, stream, n, packs, a, b, y, f);
}

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float a, float) const { return factor * a; }
};
struct ScaleBy {
  const float* factor;
  __device__ float operator()(float a, float) const { return *factor * a; }
};
struct Relu {
  __device__ float operator()(float a, float) const { return a < 0 ? 0 : a; }  // a NaN is not below 0
};
struct ReluGradient {
  __device__ float operator()(float y, float dy) const { return y > 0 ? dy : 0; }
};

template <class T>
__global__ void fill_kernel(std::int64_t n, float value, T* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) y[i] = T(value);
}

template <class From, class To>
__global__ void convert_kernel(std::int64_t n, const From* x, To* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    if constexpr (std::is_same_v<To, BFloat16>)
      y[i] = BFloat16::with_payload(float(x[i]));
    else
      y[i] = To(float(x[i]));
  }
}

/// kN channels at a time: `count` and all offsets are multiples of it.
template <class T, int kN>
__global__ void copy_channels_kernel(ChannelCopy copy, const T* source, T* target) {
  const std::int64_t per_row = copy.count / kN, n = copy.rows * per_row;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t row = i / per_row, c = i % per_row * kN;
    const auto value = dev::load<Pack<T, kN>>(source + row * copy.source_channels + copy.source_begin + c);
    dev::store(target + row * copy.target_channels + copy.target_begin + c, value);
  }
}

template <class T>
__global__ void shortcut_forward_kernel(ShortcutGeometry g, const T* x, T* y) {
  const std::int64_t n = g.n * g.p() * g.q() * g.k, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t c = i % g.k - g.before(), pixel = i / g.k;
    const std::int64_t q = pixel % g.q(), p = pixel / g.q() % g.p(), image = pixel / (g.q() * g.p());
    const bool inside = c >= 0 && c < g.c;
    y[i] = inside ? x[((image * g.h + p * g.stride) * g.w + q * g.stride) * g.c + c] : T(0.0f);
  }
}

template <class T>
__global__ void shortcut_backward_kernel(ShortcutGeometry g, const T* dy, T* dx) {
  const std::int64_t n = g.n * g.h * g.w * g.c, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    const std::int64_t c = i % g.c, pixel = i / g.c;
    const std::int64_t column = pixel % g.w, row = pixel / g.w % g.h, image = pixel / (g.w * g.h);
    const bool taken = row % g.stride == 0 && column % g.stride == 0;
    dx[i] = taken ? dy[((image * g.p() + row / g.stride) * g.q() + column / g.stride) * g.k + g.before() + c] : T(0.0f);
  }
}

/// The value itself, and nothing beside it.
template <class T>
struct Value {
  using Sums = ColumnPair;
  const T* x;
  template <int kN>
  struct Columns {
    const T* x;
    __device__ Columns(const Value& value, const ColumnPlace&) : x(value.x) {}
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      float values[kN];
      widen<T>(dev::load<Packed<T, kN>>(x + place.at()), values);
      for (int j = 0; j < kN; ++j) sums[j].first += values[j];
    }
  };
};

__global__ void __launch_bounds__(kFinishThreads)
    sum_partials(int chunks, std::int64_t channels, const ColumnPair* partial, float* y) {
  ColumnFinish finish;
  const std::int64_t c = finish.channel();
  const double sum =
      finish.sum(chunks, channels, [&](int chunk) { return double{partial[chunk * channels + c].first}; });
  if (finish.writes(channels)) y[c] = static_cast<float>(sum);
}

template <class T>
void fill(Stream stream, std::int64_t n, double value, T* y) {
  if (n == 0) return;
  dev::launch("fill", fill_kernel<T>, {{blocks_for(n, kThreads * 4)}, {kThreads}}, stream, n, static_cast<float>(value),
              y);
}

template <class T>
void add(Stream stream, std::int64_t n, const T* a, const T* b, T* y) {
  launch_map("add", stream, n, a, b, y, Add{});
}

template <class T>
void scale(Stream stream, std::int64_t n, double factor, const T* x, T* y) {
  launch_map("scale", stream, n, x, x, y, Scale{static_cast<float>(factor)});
}

template <class T>
void scale_by(Stream stream, std::int64_t n, const float* factor, const T* x, T* y) {
  launch_map("scale_by", stream, n, x, x, y, ScaleBy{factor});
}

template <class T>
void relu_forward(Stream stream, std::int64_t n, const T* x, T* y) {
  launch_map("relu_forward", stream, n, x, x, y, Relu{});
}

template <class T>
void relu_backward(Stream stream, std::int64_t n, const T* y, const T* dy, T* dx) {
  launch_map("relu_backward", stream, n, y, dy, dx, ReluGradient{});
}

/// The dtypes are known at run time alone, so the pointers stay untyped up to here.
void convert(Stream stream, std::int64_t n, DType from, const void* x, DType to, void* y) {
  if (n == 0) return;
  const dev::LaunchShape shape{{blocks_for(n, kThreads * 4)}, {kThreads}};
  if (from == DType::f32 && to == DType::bf16)
    dev::launch("convert", convert_kernel<float, BFloat16>, shape, stream, n, static_cast<const float*>(x),
                static_cast<BFloat16*>(y));
  else if (from == DType::bf16 && to == DType::f32)
    dev::launch("convert", convert_kernel<BFloat16, float>, shape, stream, n, static_cast<const BFloat16*>(x),
                static_cast<float*>(y));
  else
    throw std::invalid_argument("convert: the CUDA kernels know f32 and bf16");
}

template <class T>
void copy_channels(Stream stream, const ChannelCopy& copy, const T* source, T* target) {
  if (copy.rows * copy.count == 0) return;
  constexpr int kWide = kPack<T>;
  const std::int64_t extents =
      copy.count | copy.source_channels | copy.source_begin | copy.target_channels | copy.target_begin;
  const bool wide = extents % kWide == 0 && aligned16(source) && aligned16(target);
  dev::launch("copy_channels", wide ? copy_channels_kernel<T, kWide> : copy_channels_kernel<T, 1>,
              {{blocks_for(copy.rows * copy.count, kThreads * kWide)}, {kThreads}}, stream, copy, source, target);
}

std::size_t sum_rows_workspace_bytes(std::int64_t rows, std::int64_t channels) {
  return column_sums_bytes(rows, channels);
}

template <class T>
void sum_rows(Stream stream, std::int64_t rows, std::int64_t channels, const T* x, float* y, void* workspace) {
  auto* const partial = static_cast<ColumnPair*>(workspace);
  column_sums<kPack<T>>("sum_rows", stream, rows, channels, channels % kPack<T> == 0 && aligned16(x), Value<T>{x},
                        partial);
  dev::launch("sum_rows_finish", sum_partials, finish_grid(channels), stream, column_chunks(rows), channels, partial,
              y);
}

template <class T>
void shortcut_forward(Stream stream, const ShortcutGeometry& g, const T* x, T* y) {
  dev::launch("shortcut_forward", shortcut_forward_kernel<T>,
              {{blocks_for(g.n * g.p() * g.q() * g.k, kThreads)}, {kThreads}}, stream, g, x, y);
}

template <class T>
void shortcut_backward(Stream stream, const ShortcutGeometry& g, const T* dy, T* dx) {
  dev::launch("shortcut_backward", shortcut_backward_kernel<T>,
              {{blocks_for(g.n * g.h * g.w * g.c, kThreads)}, {kThreads}}, stream, g, dy, dx);
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
template ElementwiseKernels elementwise<BFloat16>();

}  // namespace retort::RETORT_BACKEND
