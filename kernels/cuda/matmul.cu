// Products of many matrices (contract: kernels/matmul.h) on the ordinary cores, sums in f32: a block makes a tile of 64
// x 64 of one matrix, a thread 4 x 4 of it. Slices of both operands pass through shared memory, read along whichever of
// their indices is contiguous, so that accesses join.
#include "kernels/matmul.h"

#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kTile = 64, kDepth = 16, kEdge = 16, kThreads = kEdge * kEdge, kOwn = kTile / kEdge;

struct Slices {
  static constexpr int kPitch = kTile + 1;  ///< neighbours along either index lie in different banks
  float a[kDepth][kPitch], b[kDepth][kPitch];
};

/// One slice of an operand: to[d][i] = its element of row or column first + i at depth + d, 0 beyond its edges.
/// deep: neighbours in memory are neighbours along the depth.
template <class T>
__device__ void fetch(const T* data, std::int64_t row_step, bool deep, std::int64_t first, std::int64_t extent,
                      std::int64_t depth, std::int64_t depths, float (&to)[kDepth][Slices::kPitch]) {
  for (int t = static_cast<int>(threadIdx.x); t < kTile * kDepth; t += kThreads) {
    const int i = deep ? t / kDepth : t % kTile, d = deep ? t % kDepth : t / kTile;
    const std::int64_t at = first + i, level = depth + d;
    const bool inside = at < extent && level < depths;
    to[d][i] = inside ? float(data[deep ? at * row_step + level : level * row_step + at]) : 0;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    matmul_kernel(MatmulGeometry g, std::int64_t tiles_n, std::int64_t tiles, const T* a, const T* b, T* c) {
  Slices& slices = dev::shared<Slices>();
  const std::int64_t batch = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const std::int64_t i = batch / g.inner, j = batch % g.inner;
  a += i * g.a.outer_step + j * g.a.inner_step;
  b += i * g.b.outer_step + j * g.b.inner_step;
  c += i * g.c.outer_step + j * g.c.inner_step;
  const std::int64_t m0 = tile / tiles_n * kTile, n0 = tile % tiles_n * kTile;
  const int x = static_cast<int>(threadIdx.x) % kEdge, y = static_cast<int>(threadIdx.x) / kEdge;
  float sums[kOwn][kOwn] = {};
  for (std::int64_t depth = 0; depth < g.k; depth += kDepth) {
    fetch(a, g.a.row_step, !g.transpose_a, m0, g.m, depth, g.k, slices.a);
    fetch(b, g.b.row_step, g.transpose_b, n0, g.n, depth, g.k, slices.b);
    dev::syncthreads();
    for (int d = 0; d < kDepth; ++d) {
      float left[kOwn], right[kOwn];
#pragma unroll
      for (int s = 0; s < kOwn; ++s) {
        left[s] = slices.a[d][y + s * kEdge];
        right[s] = slices.b[d][x + s * kEdge];
      }
#pragma unroll
      for (int s = 0; s < kOwn; ++s)
#pragma unroll
        for (int t = 0; t < kOwn; ++t) sums[s][t] += left[s] * right[t];
    }
    dev::syncthreads();
  }
#pragma unroll
  for (int s = 0; s < kOwn; ++s)
#pragma unroll
    for (int t = 0; t < kOwn; ++t) {
      const std::int64_t row = m0 + y + s * kEdge, column = n0 + x + t * kEdge;
      if (row < g.m && column < g.n) c[row * g.c.row_step + column] = T(sums[s][t]);
    }
}

std::size_t workspace_bytes(const MatmulGeometry&) { return 0; }

template <class T>
void run(Stream stream, const MatmulGeometry& g, const T* a, const T* b, T* c, void*) {
  if (g.outer * g.inner * g.m * g.n == 0) return;
  const std::int64_t tiles_n = (g.n + kTile - 1) / kTile, tiles = (g.m + kTile - 1) / kTile * tiles_n;
  dev::launch("matmul", matmul_kernel<T>, {{static_cast<unsigned>(g.outer * g.inner * tiles)}, {kThreads}}, stream, g,
              tiles_n, tiles, a, b, c);
}

}  // namespace

template <class T>
MatmulKernels matmul() {
  return {.workspace_bytes = workspace_bytes, .run = entry<run<T>>};
}
template MatmulKernels matmul<float>();
template MatmulKernels matmul<BFloat16>();

}  // namespace retort::RETORT_BACKEND
