// kernels/cuda/dev.h for the device: CUDA's functions and inline PTX (PTX ISA 8.x) behind the names that kernels use.
// Include dev.h, not this.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/runtime.h"

namespace retort::dev {

using Dim3 = dim3;

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

/// Launches on the stream; throws std::runtime_error with the kernel's name and CUDA's text if CUDA refuses.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, Stream stream,
            const Arguments&... arguments) {
  if (shape.shared_bytes > 48 * 1024)
    cuda::check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        name);
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = cuda::native(stream);
  cuda::check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

template <class T>
__device__ __forceinline__ T& shared() {
  static_assert(sizeof(T) <= 48 * 1024);
  __shared__ alignas(alignof(T)) unsigned char storage[sizeof(T)];
  return *reinterpret_cast<T*>(storage);
}
__device__ __forceinline__ void* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_storage[];
  return dynamic_shared_storage;
}

__device__ __forceinline__ void syncthreads() { __syncthreads(); }
__device__ __forceinline__ int syncthreads_and(int predicate) { return __syncthreads_and(predicate); }
__device__ __forceinline__ int syncthreads_or(int predicate) { return __syncthreads_or(predicate); }
__device__ __forceinline__ int syncthreads_count(int predicate) { return __syncthreads_count(predicate); }
__device__ __forceinline__ void named_barrier(unsigned id, unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(unsigned id, unsigned threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void syncwarp(std::uint32_t mask = kAllLanes) { __syncwarp(mask); }

template <class T>
__device__ __forceinline__ T shfl(std::uint32_t mask, T value, int lane) {
  return __shfl_sync(mask, value, lane);
}
template <class T>
__device__ __forceinline__ T shfl_up(std::uint32_t mask, T value, int delta) {
  return __shfl_up_sync(mask, value, static_cast<unsigned>(delta));
}
template <class T>
__device__ __forceinline__ T shfl_down(std::uint32_t mask, T value, int delta) {
  return __shfl_down_sync(mask, value, static_cast<unsigned>(delta));
}
template <class T>
__device__ __forceinline__ T shfl_xor(std::uint32_t mask, T value, int lane_mask) {
  return __shfl_xor_sync(mask, value, lane_mask);
}
__device__ __forceinline__ std::uint32_t ballot(std::uint32_t mask, bool predicate) {
  return __ballot_sync(mask, predicate);
}
__device__ __forceinline__ bool any(std::uint32_t mask, bool predicate) { return __any_sync(mask, predicate); }
__device__ __forceinline__ bool all(std::uint32_t mask, bool predicate) { return __all_sync(mask, predicate); }
__device__ __forceinline__ std::uint32_t reduce_add(std::uint32_t mask, std::uint32_t value) {
  return __reduce_add_sync(mask, value);
}

template <class V>
__device__ __forceinline__ V load(const void* address) {
  if constexpr (sizeof(V) == 16) {
    const uint4 words = *static_cast<const uint4*>(address);
    return *reinterpret_cast<const V*>(&words);
  } else if constexpr (sizeof(V) == 8) {
    const uint2 words = *static_cast<const uint2*>(address);
    return *reinterpret_cast<const V*>(&words);
  } else {
    return *static_cast<const V*>(address);
  }
}
// By inline PTX: nvcc takes a store of a vector apart and does not always find its parts again.
template <class V>
__device__ __forceinline__ void store(void* address, const V& value) {
  if constexpr (sizeof(V) == 16) {
    const auto words = *reinterpret_cast<const uint4*>(&value);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(words.x), "r"(words.y), "r"(words.z),
                 "r"(words.w)
                 : "memory");
  } else if constexpr (sizeof(V) == 8) {
    const auto words = *reinterpret_cast<const uint2*>(&value);
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(address), "r"(words.x), "r"(words.y) : "memory");
  } else {
    *static_cast<V*>(address) = value;
  }
}

/// A generic pointer to shared memory as PTX's 32-bit shared address.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

template <class V>
__device__ __forceinline__ void store_shared(void* address, const V& value) {
  if constexpr (sizeof(V) == 16) {
    const auto words = *reinterpret_cast<const uint4*>(&value);
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(address)), "r"(words.x), "r"(words.y),
                 "r"(words.z), "r"(words.w)
                 : "memory");
  } else if constexpr (sizeof(V) == 8) {
    const auto words = *reinterpret_cast<const uint2*>(&value);
    asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(shared_address(address)), "r"(words.x), "r"(words.y)
                 : "memory");
  } else {
    *static_cast<V*>(address) = value;
  }
}

__device__ __forceinline__ float fast_exp(float x) { return __expf(x); }
__device__ __forceinline__ float fast_exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float square_root(float x) {
  float result;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

__device__ __forceinline__ int atomic_add(int* address, int value) { return atomicAdd(address, value); }
__device__ __forceinline__ float atomic_add(float* address, float value) { return atomicAdd(address, value); }
__device__ __forceinline__ int atomic_or(int* address, int value) { return atomicOr(address, value); }
__device__ __forceinline__ int atomic_max(int* address, int value) { return atomicMax(address, value); }

template <int kBytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  // .cg (past L1) exists for 16 bytes alone.
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global),
                 "n"(kBytes), "r"(valid)
                 : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
  std::uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value));
  return word;
}
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ __forceinline__ float max_nan(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
__device__ __forceinline__ std::uint32_t max_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t result;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

}  // namespace retort::dev
