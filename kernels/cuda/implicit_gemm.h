// The product behind convolutions and linear layers: C [m, n] = A [m, k] B [k, n], where A may be gathered from an
// image as it is read, so that no matrix of patches ever exists.
//
// A block makes one tile of C. It walks along k in slices; each slice of A and B is copied to shared memory
// asynchronously, kStages - 1 slices ahead, 16 bytes a copy, zeros where the image ends. Products run on the tensor
// cores (bf16, or tf32 for f32), or in exact f32 on the ordinary ones.
//
//   pass     rows m             columns n   along k             A lies          B lies
//   fprop    output pixels      k           (r, s, c)           k contiguous    n contiguous (filter RSCK)
//   dgrad    input pixels of    c           (r, s, k) of the    k contiguous    k contiguous
//            one residue class              taps that reach it
//   wgrad    (r, s, c)          k           output pixels       m contiguous    n contiguous
//   both_transposed (plain products): A lies as in wgrad, B as in dgrad
#pragma once

#include <type_traits>

#include "kernels/cuda/gemm_accumulators.h"
#include "kernels/cuda/gemm_epilogue.h"
#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

/// Dynamic shared memory of a block: the stages, then the tile of C in their place.
template <class T, Pass kPass, class Shape>
inline constexpr std::size_t kProductBytes = sizeof(Stage<T, kPass, Shape>) * Shape::kStages > StagedTile<Shape>::kBytes
                                                 ? sizeof(Stage<T, kPass, Shape>) * Shape::kStages
                                                 : StagedTile<Shape>::kBytes;

/// Blocks that must fit a multiprocessor at once; 0: nvcc chooses. In exact float, which is there to be compared with,
/// it chooses four and spills.
template <Math kMath>
inline constexpr int kLeastBlocks = kMath == Math::exact ? 1 : 0;

/// Grid: x tiles of C (n fastest), y groups, z splits of k.
template <class T, Math kMath, Pass kPass, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, kLeastBlocks<kMath>) implicit_gemm(GemmArguments<T> g) {
  using S = Stage<T, kPass, Shape>;
  S* const stages = static_cast<S*>(dev::dynamic_shared());
  const int tiles_n = (g.n + Shape::kN - 1) / Shape::kN;
  const int m0 = static_cast<int>(blockIdx.x) / tiles_n * Shape::kM,
            n0 = static_cast<int>(blockIdx.x) % tiles_n * Shape::kN;
  const int group = static_cast<int>(blockIdx.y), k0 = static_cast<int>(blockIdx.z) * g.k_slice;
  const int k_end = k0 + g.k_slice < g.k ? k0 + g.k_slice : g.k;
  const int slices = (k_end - k0 + kDepth<T> - 1) / kDepth<T>;

  std::conditional_t<S::kAlongM, GatherAlongM<T, Shape>, GatherAlongK<T, Shape>> a(g, m0, k0, group);
  std::conditional_t<S::kAlongN, RowsAlongN<T, Shape>, FilterAlongK<T, Shape>> b(g, n0, k0, group);
  const auto fetch = [&](int slice) {
    if (slice < slices) {
      S& stage = stages[slice % Shape::kStages];
      a.copy(g, stage.a, k_end - k0 - slice * kDepth<T>);
      b.copy(g, stage.b, k_end - k0 - slice * kDepth<T>);
    }
    dev::copy_commit();  // an empty group counts too: the waits below stay the same at the end
  };
  std::conditional_t<kMath == Math::exact, ExactAccumulator<Shape>, TensorAccumulator<T, Shape>> sums;
  sums.clear();
  for (int slice = 0; slice < Shape::kStages - 1; ++slice) fetch(slice);
  for (int slice = 0; slice < slices; ++slice) {
    dev::copy_wait<Shape::kStages - 2>();
    dev::syncthreads();  // this slice has landed, and everyone is done with the one before, which is refilled now
    fetch(slice + Shape::kStages - 1);
    sums.multiply(stages[slice % Shape::kStages]);
  }
  dev::copy_wait<0>();
  dev::syncthreads();  // everyone is done with the stages, whose memory now holds the tile
  StagedTile<Shape> tile(stages);
  sums.each([&](int m, int n, float first, float second) { tile.put(m, n, first, second); });
  dev::syncthreads();
  write_tile<kPass>(g, tile, group, m0, n0);
}

}  // namespace retort::RETORT_BACKEND
