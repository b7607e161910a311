// What hopper_product.h does with the sums of a tile. A policy is a value: write() takes 64 rows of a tile from one
// consumer, finish() ends its work.
//
// Sum i of thread t of a consumer is that of row 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2) and column
// 8 (i / 4) + 2 (t % 4) + i % 2.
#pragma once

#include "kernels/cuda/common.h"
#include "kernels/cuda/dev_hopper.h"
#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kGroup = 128;  ///< threads of a warpgroup

/// The first of a thread's two rows, which are 8 apart, and the first of its two columns of every eight.
__device__ __forceinline__ int sum_row() {
  return static_cast<int>(threadIdx.x) % kGroup / kWarp * 16 + static_cast<int>(threadIdx.x) % kWarp / 4;
}
__device__ __forceinline__ int sum_column() { return static_cast<int>(threadIdx.x) % 4 * 2; }

/// The threads of one consumer, 0 or 1, meet.
__device__ __forceinline__ void consumer_barrier(int consumer) {
  if (consumer == 0)
    dev::group_barrier<1>(kGroup);
  else
    dev::group_barrier<2>(kGroup);
}

using Pair = Pack<float, 2>;

/// C in bf16, rows without gaps, with scale, bias, residual and ReLU: through shared memory, by bulk stores, which
/// leave out what lies beyond C.
struct StoreTile {
  dev::TensorMap c;
  const float *scale = nullptr, *bias = nullptr;  ///< [n], or null
  const BFloat16* residual = nullptr;             ///< [m, n], or null
  bool relu = false;
  int m = 0, n = 0;

  template <int kSums>
  __device__ __forceinline__ void write(float (&sums)[kSums], int consumer, int m0, int n0, int,
                                        unsigned char* staging) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const bool stores = threadIdx.x % kGroup == 0;
    if (stores) dev::store_wait_read<0>();  // of the tile before
    consumer_barrier(consumer);
    // A row of 16 bytes a lane of four 8 x 8 matrices: 16 rows, 16 columns.
    const int row = static_cast<int>(threadIdx.x) % kGroup / kWarp * 16 + lane % 16;
#pragma unroll
    for (int j = 0; j < kSums / 8; ++j) {
      std::uint32_t words[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) finish(sums, j * 2 + half, m0, n0, words[half * 2], words[half * 2 + 1]);
      const int chunk = j % 4 * 2 + lane / 16;
      dev::stmatrix_x4(staging + j / 4 * kBox64Bytes + row * dev::kBoxRowBytes + (chunk ^ row % 8) * 16, words);
    }
    dev::proxy_fence();
    consumer_barrier(consumer);
    if (!stores || m0 >= m) return;
    for (int column = 0; column < kSums * 2 && n0 + column < n; column += 64)
      dev::store_box(c, staging + column / 64 * kBox64Bytes, {n0 + column, m0});
    dev::store_commit();
  }
  __device__ __forceinline__ void finish() const {
    if (threadIdx.x % kGroup == 0) dev::store_wait_read<0>();
  }

 private:
  /// The thread's sums of columns 8 q and on, in its two rows.
  template <int kSums>
  __device__ __forceinline__ void finish(float (&sums)[kSums], int q, int m0, int n0, std::uint32_t& upper,
                                         std::uint32_t& lower) const {
    const int column = n0 + q * 8 + sum_column();
    float values[2][2] = {{sums[q * 4], sums[q * 4 + 1]}, {sums[q * 4 + 2], sums[q * 4 + 3]}};
    if (column < n) {
      if (scale) {
        const auto by = dev::load<Pair>(scale + column);
        for (auto& row : values) row[0] *= by.v[0], row[1] *= by.v[1];
      }
      if (bias) {
        const auto more = dev::load<Pair>(bias + column);
        for (auto& row : values) row[0] += more.v[0], row[1] += more.v[1];
      }
      if (residual) {
        for (int half = 0; half < 2; ++half) {
          const int row = m0 + sum_row() + half * 8;
          if (row >= m) continue;
          float more[2];
          widen<BFloat16>(dev::load<Packed<BFloat16, 2>>(residual + std::int64_t{row} * n + column), more);
          values[half][0] += more[0], values[half][1] += more[1];
        }
      }
    }
    upper = narrow<BFloat16>(values[0], relu).v[0];
    lower = narrow<BFloat16>(values[1], relu).v[0];
  }
};

/// C in f32: a parameter's gradient, or the parts of a product that is cut along k. Rows come in runs of `padded`, of
/// which the first `channels` are written.
struct StoreSums {
  float* data = nullptr;
  const float* bias = nullptr;  ///< [n], or null
  bool relu = false;
  int rows = 0, n = 0;  ///< rows: of runs and their padding
  int channels = 1, padded = 1;
  std::int64_t split_elements = 0;  ///< from part to part

  template <int kSums>
  __device__ __forceinline__ void write(float (&sums)[kSums], int, int m0, int n0, int split, unsigned char*) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = m0 + sum_row() + half * 8, run = row / padded, channel = row % padded;
      if (row >= rows || channel >= channels) continue;
      float* const target = data + split * split_elements + (std::int64_t{run} * channels + channel) * n;
#pragma unroll
      for (int q = 0; q < kSums / 4; ++q) {
        const int column = n0 + q * 8 + sum_column();
        if (column >= n) break;
        Pair pair{{sums[q * 4 + half * 2], sums[q * 4 + half * 2 + 1]}};
        for (int i = 0; i < 2; ++i) {
          if (bias) pair.v[i] += bias[column + i];
          if (relu) pair.v[i] = dev::max_nan(pair.v[i], 0);
        }
        dev::store(target + column, pair);
      }
    }
  }
  __device__ __forceinline__ void finish() const {}
};

/// C in bf16, rows the pixels of a strided grid: a residue class of dgrad.
struct StoreStrided {
  Output<BFloat16> c;
  int m = 0, n = 0;

  template <int kSums>
  __device__ __forceinline__ void write(float (&sums)[kSums], int, int m0, int n0, int, unsigned char*) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = m0 + sum_row() + half * 8;
      if (row >= m) continue;
      BFloat16* const target = c.data + GridPixel(row, c.rows, c.columns).offset(c);
#pragma unroll
      for (int q = 0; q < kSums / 4; ++q) {
        const int column = n0 + q * 8 + sum_column();
        if (column >= n) break;
        const float pair[2] = {sums[q * 4 + half * 2], sums[q * 4 + half * 2 + 1]};
        dev::store(target + column, narrow<BFloat16>(pair));
      }
    }
  }
  __device__ __forceinline__ void finish() const {}
};

}  // namespace retort::RETORT_BACKEND
