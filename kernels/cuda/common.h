// What the kernels share: launch shapes, packs of elements, sums over warps and blocks.
#pragma once

#include <bit>
#include <type_traits>

#include "kernels/cuda/dev.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kWarp = 32;

/// Elements that one 16-byte access moves.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
using Pack = dev::Vec<T, N>;

/// N elements as they are moved and rounded: bf16 in words of two, which nothing takes apart on the way.
template <class T, int N>
using Packed = std::conditional_t<sizeof(T) == 2 && N % 2 == 0, Pack<std::uint32_t, (N + 1) / 2>, Pack<T, N>>;

/// The elements as floats.
template <class T, int N>
__device__ __forceinline__ void widen(const Packed<T, N>& pack, float (&values)[N]) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    for (int j = 0; j < N / 2; ++j) {
      values[2 * j] = std::bit_cast<float>(pack.v[j] << 16);
      values[2 * j + 1] = std::bit_cast<float>(pack.v[j] & 0xFFFF0000u);
    }
  } else {
    for (int j = 0; j < N; ++j) values[j] = float(pack.v[j]);
  }
}

/// Rounded floats: two bf16 an instruction.
template <class T, int N>
__device__ __forceinline__ Packed<T, N> narrow(const float (&values)[N]) {
  Packed<T, N> pack;
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    for (int j = 0; j < N / 2; ++j) pack.v[j] = dev::pack_bf16(values[2 * j], values[2 * j + 1]);
  } else {
    for (int j = 0; j < N; ++j) pack.v[j] = T(values[j]);
  }
  return pack;
}

/// Likewise, with max(0, .) if relu: without a branch, as a maximum with 0 or -inf.
template <class T, int N>
__device__ __forceinline__ Packed<T, N> narrow(const float (&values)[N], bool relu) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    auto pack = narrow<T>(values);
    const std::uint32_t floor = relu ? 0 : 0xFF80FF80u;
    for (int j = 0; j < N / 2; ++j) pack.v[j] = dev::max_bf16(pack.v[j], floor);
    return pack;
  } else {
    float above[N];
    for (int j = 0; j < N; ++j) above[j] = dev::max_nan(values[j], relu ? 0 : -INFINITY);
    return narrow<T>(above);
  }
}

/// N elements of 4 bytes, 16 bytes at a time where N allows; the address is aligned to that.
template <class T, int N>
__device__ __forceinline__ void load_elements(const T* from, T (&values)[N]) {
  static_assert(sizeof(T) == 4);
  constexpr int kAtOnce = N % 4 == 0 ? 4 : 1;
  for (int j = 0; j < N; j += kAtOnce) {
    const auto part = dev::load<Pack<T, kAtOnce>>(from + j);
    for (int i = 0; i < kAtOnce; ++i) values[j + i] = part.v[i];
  }
}
template <class T, int N>
__device__ __forceinline__ void store_elements(T* to, const T (&values)[N]) {
  static_assert(sizeof(T) == 4);
  constexpr int kAtOnce = N % 4 == 0 ? 4 : 1;
  for (int j = 0; j < N; j += kAtOnce) {
    Pack<T, kAtOnce> part;
    for (int i = 0; i < kAtOnce; ++i) part.v[i] = values[j + i];
    dev::store(to + j, part);
  }
}

/// Blocks that cover n items, `per_block` each, at most `limit`: kernels stride over the rest.
inline unsigned blocks_for(std::int64_t n, std::int64_t per_block, std::int64_t limit = 1 << 16) {
  const std::int64_t blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > limit ? limit : blocks);
}

inline bool aligned16(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Max {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

/// Over all lanes of a full warp; every lane gets the result, in the same order of operations.
template <class Op>
__device__ __forceinline__ float warp_reduce(float value, Op op) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = op(value, dev::shfl_xor(dev::kAllLanes, value, step));
  return value;
}

/// Over all threads of a block of kThreads; every thread gets the result. `scratch` holds kThreads / 32 floats and may
/// be used again after the call.
template <int kThreads, class Op>
__device__ float block_reduce(float value, Op op, float* scratch) {
  constexpr int kWarps = kThreads / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_reduce(value, op);
  if (lane == 0) scratch[warp] = value;
  dev::syncthreads();
  float result = scratch[0];
  for (int i = 1; i < kWarps; ++i) result = op(result, scratch[i]);
  dev::syncthreads();
  return result;
}

}  // namespace retort::RETORT_BACKEND
