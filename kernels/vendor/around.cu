// What finishes a library's sums as an epilogue asks, and turns matrices over, for f32 and bf16.
#include "kernels/vendor/around.h"

#include "kernels/cuda/common.h"

namespace retort::vendor {
namespace {

constexpr int kThreads = 256, kTile = 32, kTileRows = 8;

template <class T>
__global__ void finish_kernel(std::int64_t n, std::int64_t channels, const float* scale, const float* bias,
                              const T* residual, bool relu, float ceiling, T* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    float value = float(y[i]);
    if (scale) value *= scale[i % channels];
    if (bias) value += bias[i % channels];
    if (residual) value += float(residual[i]);
    if (relu) value = value < 0 ? 0.0f : value > ceiling ? ceiling : value;  // a NaN is neither
    y[i] = T(value);
  }
}

struct Tile {
  float v[kTile][kTile + 1];  // a column more: no bank conflict when columns are read
};

template <class From, class To>
__global__ void transpose_kernel(std::int64_t rows, std::int64_t columns, const From* source, To* target) {
  Tile& tile = dev::shared<Tile>();
  const std::int64_t column = std::int64_t{blockIdx.x} * kTile, row = std::int64_t{blockIdx.y} * kTile;
  const int x = static_cast<int>(threadIdx.x);
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows)
    if (row + y < rows && column + x < columns) tile.v[y][x] = float(source[(row + y) * columns + column + x]);
  dev::syncthreads();
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows)
    if (column + y < columns && row + x < rows) target[(column + y) * rows + row + x] = To(tile.v[x][y]);
}

template <class T>
void launch_finish(Stream stream, std::int64_t rows, std::int64_t channels, const ConvEpilogue& e, void* y) {
  const std::int64_t n = rows * channels;
  dev::launch("finish", finish_kernel<T>, {{cuda::blocks_for(n, kThreads)}, {kThreads}}, stream, n, channels,
              static_cast<const float*>(e.scale), static_cast<const float*>(e.bias), static_cast<const T*>(e.residual),
              e.relu, e.ceiling, static_cast<T*>(y));
}

template <class From, class To>
void launch_transpose(Stream stream, std::int64_t rows, std::int64_t columns, const void* source, void* target) {
  const auto tiles = [](std::int64_t extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  dev::launch("transpose", transpose_kernel<From, To>, {{tiles(columns), tiles(rows)}, {kTile, kTileRows}}, stream,
              rows, columns, static_cast<const From*>(source), static_cast<To*>(target));
}

}  // namespace

void finish(Stream stream, std::int64_t rows, std::int64_t channels, const ConvEpilogue& epilogue, DType dtype,
            void* y) {
  if (!epilogue.scale && !epilogue.bias && !epilogue.residual && !epilogue.relu) return;
  (dtype == DType::bf16 ? launch_finish<BFloat16> : launch_finish<float>)(stream, rows, channels, epilogue, y);
}

void transpose(Stream stream, std::int64_t rows, std::int64_t columns, DType from, const void* source, DType to,
               void* target) {
  (from == DType::f32 ? launch_transpose<float, float>
   : to == DType::f32 ? launch_transpose<BFloat16, float>
                      : launch_transpose<BFloat16, BFloat16>)(stream, rows, columns, source, target);
}

}  // namespace retort::vendor
