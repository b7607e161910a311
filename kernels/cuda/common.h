// What the kernels share: launch shapes, packs of elements, sums over warps and blocks.
#pragma once

#include "kernels/cuda/dev.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kWarp = 32;

/// Elements that one 16-byte access moves.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
using Pack = dev::Vec<T, N>;

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
