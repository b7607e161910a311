// What the threads of a block hold of a tile of C while implicit_gemm.h makes it: fragments for the tensor cores, or
// plain f32 sums. multiply() adds the product of one stage; each() hands the results on, two columns at a time.
#pragma once

#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

/// The part of a tile of C that one warp holds on the tensor cores, in m16n8 fragments.
template <class T, class Shape>
struct TensorAccumulator {
  static constexpr int kFragmentsM = Shape::kWarpM / 16, kFragmentsN = Shape::kWarpN / 8;
  float values[kFragmentsM][kFragmentsN][4];

  __device__ void clear() {
    for (auto& row : values)
      for (auto& fragment : row)
        for (float& value : fragment) value = 0;
  }

  template <class S>
  __device__ __forceinline__ void multiply(S& stage) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int m0 = warp / Shape::kWarpsN * Shape::kWarpM, n0 = warp % Shape::kWarpsN * Shape::kWarpN;
    if constexpr (sizeof(T) == 2)
      multiply_bf16(stage, m0, n0);
    else
      multiply_tf32(stage, m0, n0);
  }

  /// Calls put(m, n, two values side by side) for all elements of the thread.
  template <class F>
  __device__ __forceinline__ void each(const F& put) const {
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    const int m0 = warp / Shape::kWarpsN * Shape::kWarpM + lane / 4;
    const int n0 = warp % Shape::kWarpsN * Shape::kWarpN + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          put(m0 + i * 16 + half * 8, n0 + j * 8, values[i][j][half * 2], values[i][j][half * 2 + 1]);
  }

 private:
  template <class S>
  __device__ __forceinline__ void multiply_bf16(S& stage, int m0, int n0) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, within = lane % 8, matrix = lane / 8;
#pragma unroll
    for (int k = 0; k < kDepth<T>; k += 16) {
      std::uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i) {
        const int m = m0 + i * 16 + matrix % 2 * 8, kk = k + matrix / 2 * 8;
        if constexpr (S::kAlongM)
          dev::ldmatrix_x4_trans(a[i], stage.a.at(kk + within, m));
        else
          dev::ldmatrix_x4(a[i], stage.a.at(m + within, kk));
      }
#pragma unroll
      for (int j = 0; j < kFragmentsN; j += 2) {
        const int n = n0 + j * 8 + matrix / 2 * 8, kk = k + matrix % 2 * 8;
        std::uint32_t four[4];
        if constexpr (S::kAlongN)
          dev::ldmatrix_x4_trans(four, stage.b.at(kk + within, n));
        else
          dev::ldmatrix_x4(four, stage.b.at(n + within, kk));
        b[j][0] = four[0];
        b[j][1] = four[1];
        b[j + 1][0] = four[2];
        b[j + 1][1] = four[3];
      }
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) dev::mma_bf16(values[i][j], a[i], b[j]);
    }
  }

  template <class S>
  __device__ __forceinline__ void multiply_tf32(S& stage, int m0, int n0) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, t = lane % 4;
    const auto left = [&](int m, int k) { return dev::to_tf32(S::kAlongM ? *stage.a.at(k, m) : *stage.a.at(m, k)); };
    const auto right = [&](int k, int n) { return dev::to_tf32(S::kAlongN ? *stage.b.at(k, n) : *stage.b.at(n, k)); };
#pragma unroll
    for (int k = 0; k < kDepth<T>; k += 8) {
      std::uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) a[i][r] = left(m0 + i * 16 + group + r % 2 * 8, k + t + r / 2 * 4);
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) b[j][r] = right(k + t + r * 4, n0 + j * 8 + group);
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) dev::mma_tf32(values[i][j], a[i], b[j]);
    }
  }
};

/// The part of a tile of C that one thread holds, multiplied in f32: rows ty + 16 i, columns 4 tx + 64 (j / 4) + j % 4
/// of a 16 x 16 arrangement of threads.
template <class Shape>
struct ExactAccumulator {
  static constexpr int kRows = Shape::kM / 16, kColumns = Shape::kN / 16;
  static_assert(Shape::kThreads == 256 && kColumns % 4 == 0);
  float values[kRows][kColumns];

  __device__ void clear() {
    for (auto& row : values)
      for (float& value : row) value = 0;
  }

  template <class S>
  __device__ __forceinline__ void multiply(S& stage) {
    using Four = Pack<float, 4>;
    const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
    for (int k = 0; k < kDepth<float>; k += 4) {
      Four a[kRows], b[kColumns];  // four along k each
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if constexpr (S::kAlongM)
          for (int kk = 0; kk < 4; ++kk) a[i].v[kk] = *stage.a.at(k + kk, ty + 16 * i);
        else
          a[i] = dev::load<Four>(stage.a.at(ty + 16 * i, k));
      }
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        const int n = tx * 4 + j / 4 * 64;
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          if constexpr (S::kAlongN) {
            const Four row = dev::load<Four>(stage.b.at(k + x, n));
            for (int y = 0; y < 4; ++y) b[j + y].v[x] = row.v[y];
          } else {
            b[j + x] = dev::load<Four>(stage.b.at(n + x, k));
          }
        }
      }
#pragma unroll
      for (int kk = 0; kk < 4; ++kk)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kColumns; ++j) values[i][j] += a[i].v[kk] * b[j].v[kk];
    }
  }

  template <class F>
  __device__ __forceinline__ void each(const F& put) const {
    const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; j += 2)
        put(ty + 16 * i, tx * 4 + j / 4 * 64 + j % 4, values[i][j], values[i][j + 1]);
  }
};

}  // namespace retort::RETORT_BACKEND
