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
#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

/// Where row m of C begins, or -1 if it does not exist.
template <Pass kPass, class T>
__device__ __forceinline__ std::int64_t row_offset(const Output<T>& c, int m) {
  if constexpr (kPass == Pass::dgrad) {
    const int q = m % c.columns, p = m / c.columns % c.rows, image = m / c.columns / c.rows;
    return ((std::int64_t{image} * c.h + p * c.mul_h + c.off_h) * c.w + q * c.mul_w + c.off_w) * c.pitch;
  } else if constexpr (kPass == Pass::wgrad) {
    const int run = m / c.padded, channel = m % c.padded;
    return channel < c.channels ? (std::int64_t{run} * c.channels + channel) * c.pitch : -1;
  } else {
    return std::int64_t{m} * c.pitch;
  }
}

/// Finishes columns n and n + 1 of row m, as far as they exist, and writes them.
template <class T, Pass kPass>
__device__ __forceinline__ void put(const GemmArguments<T>& g, int group, int m, int n, float first, float second) {
  const Output<T>& c = g.c;
  const std::int64_t row = row_offset<kPass>(c, m);
  if (row < 0 || n >= g.n) return;
  const int column = group * g.n_group + n;
  const bool both = n + 1 < g.n;
  if (c.scale) {
    first *= c.scale[column];
    if (both) second *= c.scale[column + 1];
  }
  if (c.bias) {
    first += c.bias[column];
    if (both) second += c.bias[column + 1];
  }
  const bool paired = both && c.pitch % 2 == 0 && column % 2 == 0;
  if (c.residual) {
    const T* const residual = c.residual + row + column;
    if (paired) {
      const auto values = dev::load<Pack<T, 2>>(residual);
      first += float(values.v[0]);
      second += float(values.v[1]);
    } else {
      first += float(residual[0]);
      if (both) second += float(residual[1]);
    }
  }
  if (c.relu) {
    first = first < 0 ? 0 : first;
    second = second < 0 ? 0 : second;
  }
  const auto write = [&](auto* data) {
    using Element = std::remove_reference_t<decltype(*data)>;
    Element* const target = data + row + column;
    if (paired) {
      dev::store(target, Pack<Element, 2>{{Element(first), Element(second)}});
    } else {
      *target = Element(first);
      if (both) target[1] = Element(second);
    }
  };
  if constexpr (sizeof(T) != sizeof(float)) {
    if (c.data_f32) {
      write(c.data_f32);
      return;
    }
  }
  write(c.data);
}

/// Grid: x tiles of C (n fastest), y groups, z splits of k.
template <class T, Math kMath, Pass kPass, class Shape>
__global__ void __launch_bounds__(Shape::kThreads) implicit_gemm(GemmArguments<T> g) {
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

  sums.each([&](int m, int n, float first, float second) {
    m += m0;
    n += n0;
    if (m >= g.m) return;
    if (!g.partial) {
      put<T, kPass>(g, group, m, n, first, second);
      return;
    }
    float* const row = g.partial + ((std::int64_t{blockIdx.z} * g.groups + group) * g.m + m) * g.n;
    if (n < g.n) row[n] = first;
    if (n + 1 < g.n) row[n + 1] = second;
  });
}

/// Adds the splits in order and writes C.
template <class T, Pass kPass>
__global__ void add_splits(GemmArguments<T> g, int splits) {
  const std::int64_t all = std::int64_t{g.groups} * g.m * g.n, pairs = std::int64_t{g.groups} * g.m * ((g.n + 1) / 2);
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pairs; i += stride) {
    const int n = static_cast<int>(i % ((g.n + 1) / 2)) * 2;
    const std::int64_t row = i / ((g.n + 1) / 2);
    float first = 0, second = 0;
    for (int split = 0; split < splits; ++split) {
      const float* const partial = g.partial + split * all + row * g.n + n;
      first += partial[0];
      if (n + 1 < g.n) second += partial[1];
    }
    put<T, kPass>(g, static_cast<int>(row / g.m), static_cast<int>(row % g.m), n, first, second);
  }
}

}  // namespace retort::RETORT_BACKEND
