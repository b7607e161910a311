// A slice of both operands in shared memory, and how 256 threads fetch it: what steps 3 and 4 of the convolution's
// ladder share, so that they differ in how they multiply alone.
#pragma once

#include "kernels/cuda/ladder/conv2d_product.h"

namespace retort::RETORT_BACKEND {

/// Of a block: 128 x 128 outputs, made along the depth in slices of 16.
inline constexpr int kTileM = 128, kTileN = 128, kSliceDepth = 16, kTileThreads = 256;

struct ConvSlice {
  /// Rows 8 banks apart: lanes that read 4 neighbouring rows and 8 columns of each meet in no bank.
  static constexpr int kPitch = 128 + 8;
  alignas(16) float a[kSliceDepth][kPitch];  ///< transposed: a[i][row]
  alignas(16) float b[kSliceDepth][kPitch];  ///< b[i][column]
};

/// Four neighbours of an operand, data[at(0)] ... data[at(3)], 0 where at gives -1. kWide: they are contiguous, exist
/// together and are aligned, and come in one load.
template <bool kWide, class At>
__device__ __forceinline__ Pack<float, 4> load_four(const float* data, const At& at) {
  Pack<float, 4> four;
  if constexpr (kWide) {
    const std::int64_t first = at(0);
    if (first >= 0) return dev::load<Pack<float, 4>>(data + first);
    for (float& value : four.v) value = 0;
  } else {
    for (int j = 0; j < 4; ++j) {
      const std::int64_t element = at(j);
      four.v[j] = element >= 0 ? data[element] : 0;
    }
  }
  return four;
}

/// Fetches the slice that begins at depth d of the tile that begins at (m0, n0): 2 x 4 elements of A and of B a thread.
template <bool kWide>
__device__ __forceinline__ void fetch(const ConvProduct& g, int group, int m0, int n0, int d, const float* x,
                                      const float* w, ConvSlice& slice) {
  for (int t = static_cast<int>(threadIdx.x); t < kTileM * kSliceDepth / 4; t += kTileThreads) {
    const int row = t / (kSliceDepth / 4), i = t % (kSliceDepth / 4) * 4;
    const auto a = load_four<kWide>(x, [&](int j) { return g.patch(group, m0 + row, d + i + j); });
    for (int j = 0; j < 4; ++j) slice.a[i + j][row] = a.v[j];
  }
  for (int t = static_cast<int>(threadIdx.x); t < kTileN * kSliceDepth / 4; t += kTileThreads) {
    const int i = t / (kTileN / 4), column = t % (kTileN / 4) * 4;
    dev::store_shared(&slice.b[i][column],
                      load_four<kWide>(w, [&](int j) { return g.filter(group, d + i, n0 + column + j); }));
  }
}

/// Launches kernel<true> where runs of four channels of x and of w are contiguous and aligned, else kernel<false>.
template <class Kernel>
void launch_tile_kernel(const char* name, Kernel wide, Kernel narrow, Stream stream, const Conv2dGeometry& geometry,
                        const float* x, const float* w, const ConvEpilogue& epilogue, float* y) {
  const ConvProduct g(geometry);
  if (std::int64_t{g.m} * g.k == 0) return;
  const bool fours = g.channels % 4 == 0 && g.n % 4 == 0 && aligned16(x) && aligned16(w);
  dev::launch(name, fours ? wide : narrow, {g.grid(kTileM, kTileN), {kTileThreads}}, stream, g, x, w, Finish(epilogue),
              y);
}

}  // namespace retort::RETORT_BACKEND
