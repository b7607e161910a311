// What kernels use of the hardware, under one set of names: inline PTX and CUDA's own functions on the device
// (dev_cuda.h), plain C++ under the simulator (kernels/simt/dev_simt.h). A kernel's source includes this and nothing
// else of CUDA, and so compiles for both.
//
//   threadIdx, blockIdx, blockDim, gridDim, __global__, __device__     as in CUDA
//   dev::launch(name, kernel, {grid, block, shared_bytes}, stream, args...)
//   dev::shared<T>()                          one T in static shared memory
//   dev::dynamic_shared()                     the launch's dynamic shared memory, aligned to 128 bytes
//   dev::syncthreads(), syncthreads_or(p)     the block meets; _and, _or, _count reduce a predicate
//   dev::named_barrier(id, threads)           that many threads meet; named_barrier_arrive does not wait
//   dev::syncwarp(mask), shfl, shfl_xor, shfl_down, shfl_up, ballot, any, all, reduce_add     lanes of a warp
//   dev::load<V>(p)                           one access of sizeof(V), aligned to it
//   dev::store(p, v), store_shared(p, v)      likewise, to global and to shared memory
//   dev::atomic_add, atomic_max, atomic_or    on int, and atomic_add on float
//   dev::copy_async<16>(shared, global, valid), copy_commit(), copy_wait<N>()     cp.async; bytes beyond valid: zero
//   dev::ldmatrix_x4(r, row), ldmatrix_x4_trans(r, row)
//   dev::fast_exp(x)                          the hardware's exponential, about 2 + 1.2 |x| units in the last place off
//   dev::fast_exp2(x)                         2^x, 2 units in the last place off
//   dev::reciprocal(x), square_root(x)        one unit in the last place off; what is not normal counts as 0
//   dev::max_nan(a, b)                        the larger of two floats, NaN if either is; +0 is larger than -0
//   dev::pack_bf16(low, high)                 two floats rounded to bf16 in one word
//   dev::max_bf16(a, b)                       max_nan of both bf16 of two words
//   dev::mma_bf16, mma_f16 (m16n8k16), mma_tf32 (m16n8k8)     d += a b, fragments as PTX lays them out
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/cuda/backend.h"
#include "kernels/types.h"

namespace retort::dev {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// N elements that are loaded and stored as one.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};

}  // namespace retort::dev

#if defined(__CUDACC__)
#include "kernels/cuda/dev_cuda.h"
#else
#include "kernels/simt/dev_simt.h"
#endif
