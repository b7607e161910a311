// kernels/cuda/dev_hopper.h for the device: inline PTX (PTX ISA 8.0, sm_90a). Tensor maps are encoded by functions of
// CUDA's driver that its runtime finds, so that no driver is linked. Include dev_hopper.h, not this.
#pragma once

#include <cuda.h>

#include "kernels/cuda/runtime.h"

namespace retort::dev {

using TensorMap = CUtensorMap;

namespace detail {

inline int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  cuda::check(cudaGetDevice(&device), "cudaGetDevice");
  cuda::check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

template <class Function>
Function* required_driver_function(const char* name) {
  auto* const found = cuda::driver_function<Function>(name);
  if (!found)
    throw std::runtime_error(std::string("cuda: the driver has no ") + name + "; install a driver of CUDA 12 or later");
  return found;
}

inline void check_encoded(CUresult status, const char* function) {
  if (status != CUDA_SUCCESS)
    throw std::runtime_error(std::string("cuda: ") + function + ": error " + std::to_string(static_cast<int>(status)));
}

/// Drivers up to 13.1 set a bit in the maps of small tensors that makes copies of them wrong (CUTLASS clears it too).
inline void mend(TensorMap& map, std::uint64_t tensor_bytes) {
  static const int version = [] {
    auto* const get = cuda::driver_function<CUresult(int*)>("cuDriverGetVersion");
    int value = 0;
    return get && get(&value) == CUDA_SUCCESS ? value : 0;
  }();
  if (version > 0 && version <= 13010 && tensor_bytes < 131072)
    reinterpret_cast<std::uint64_t*>(&map)[1] &= ~(std::uint64_t{1} << 21);
}

/// A dense tensor's extents and strides as the driver wants them.
template <std::size_t kRank>
struct Dense {
  cuuint64_t extents[kRank], strides[kRank];  ///< bytes; of the last, the tensor's
  cuuint32_t ones[kRank];
  explicit Dense(const std::array<std::int64_t, kRank>& of) {
    cuuint64_t bytes = sizeof(BFloat16);
    for (std::size_t d = 0; d < kRank; ++d) {
      extents[d] = static_cast<cuuint64_t>(of[d]);
      strides[d] = bytes *= extents[d];
      ones[d] = 1;
    }
  }
};

}  // namespace detail

inline bool on_hopper() {
  static const bool yes = detail::attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
                          detail::attribute(cudaDevAttrComputeCapabilityMinor) == 0;
  return yes;
}
inline int multiprocessors() {
  static const int count = detail::attribute(cudaDevAttrMultiProcessorCount);
  return count;
}

template <std::size_t kRank>
TensorMap tiled_map(const BFloat16* data, const std::array<std::int64_t, kRank>& extents,
                    const std::array<int, kRank>& box) {
  static auto* const encode =
      detail::required_driver_function<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  detail::Dense<kRank> tensor(extents);
  cuuint32_t boxes[kRank];
  for (std::size_t d = 0; d < kRank; ++d) boxes[d] = static_cast<cuuint32_t>(box[d]);
  TensorMap map;
  detail::check_encoded(
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<BFloat16*>(data), tensor.extents, tensor.strides,
             boxes, tensor.ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeTiled");
  detail::mend(map, tensor.strides[kRank - 1]);
  return map;
}
inline TensorMap im2col_map(const BFloat16* data, const PixelWindow& window, int pixels) {
  static auto* const encode =
      detail::required_driver_function<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  detail::Dense<4> tensor({window.c, window.w, window.h, window.n});
  const int lower[] = {window.lower_w, window.lower_h}, upper[] = {window.upper_w, window.upper_h};
  const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(window.step_w), static_cast<cuuint32_t>(window.step_h), 1};
  TensorMap map;
  detail::check_encoded(
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<BFloat16*>(data), tensor.extents, tensor.strides,
             lower, upper, kBoxRowBytes / sizeof(BFloat16), static_cast<cuuint32_t>(pixels), steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeIm2col");
  detail::mend(map, tensor.strides[3]);
  return map;
}

__device__ __forceinline__ void mbarrier_init(Mbarrier& b, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(Mbarrier& b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
}
__device__ __forceinline__ void mbarrier_expect(Mbarrier& b, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void mbarrier_wait(Mbarrier& b, unsigned parity) {
  std::uint32_t done = 0;
  while (!done)
    asm volatile("{\n .reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.b32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(&b)), "r"(parity)
                 : "memory");
}

__device__ __forceinline__ void load_box(void* shared, const TensorMap& map, Mbarrier& b, const int (&at)[2]) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&b)), "r"(at[0]), "r"(at[1])
      : "memory");
}
__device__ __forceinline__ void load_box(void* shared, const TensorMap& map, Mbarrier& b, const int (&at)[3]) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&b)), "r"(at[0]), "r"(at[1]), "r"(at[2])
      : "memory");
}
__device__ __forceinline__ void load_pixels(void* shared, const TensorMap& map, Mbarrier& b, const int (&at)[4],
                                            const int (&tap)[2]) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
      "%6}], [%2], {%7, %8};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&b)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
      "h"(static_cast<std::uint16_t>(tap[0])), "h"(static_cast<std::uint16_t>(tap[1]))
      : "memory");
}
__device__ __forceinline__ void store_box(const TensorMap& map, const void* shared, const int (&at)[2]) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_address(shared)), "r"(at[0]), "r"(at[1])
               : "memory");
}
__device__ __forceinline__ void store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
__device__ __forceinline__ void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The operands of wgmma, 32 sums at a time: their places in the text, and what is bound to them.
#define RETORT_SUMS_0_TO_31                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31"
#define RETORT_SUMS_32_TO_63                                                                                       \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define RETORT_SUMS_64_TO_95                                                                                       \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
  "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define RETORT_SUMS_96_TO_127                                                                                \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, " \
  "%114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define RETORT_BIND_8(i)                                                                                        \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), "+f"(sums[i + 5]), \
      "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define RETORT_BIND_32(i) RETORT_BIND_8(i), RETORT_BIND_8(i + 8), RETORT_BIND_8(i + 16), RETORT_BIND_8(i + 24)
#define RETORT_WGMMA(n, places, a, b, along_m, along_n, ...)                                                 \
  asm volatile("{\n .reg .pred p;\n setp.eq.b32 p, 0, 0;\n wgmma.mma_async.sync.aligned.m64n" #n             \
               "k16.f32.bf16.bf16 {" places "}, %" #a ", %" #b ", p, 1, 1, %" #along_m ", %" #along_n ";\n}" \
               : __VA_ARGS__                                                                                 \
               : "l"(a_descriptor), "l"(b_descriptor), "n"(static_cast<int>(kAlongM)), "n"(static_cast<int>(kAlongN)))

template <bool kAlongM, bool kAlongN, int kSums>
__device__ __forceinline__ void wgmma(float (&sums)[kSums], std::uint64_t a_descriptor, std::uint64_t b_descriptor) {
  static_assert(kSums == 32 || kSums == 64 || kSums == 128);
  if constexpr (kSums == 32)
    RETORT_WGMMA(64, RETORT_SUMS_0_TO_31, 32, 33, 34, 35, RETORT_BIND_32(0));
  else if constexpr (kSums == 64)
    RETORT_WGMMA(128, RETORT_SUMS_0_TO_31 ", " RETORT_SUMS_32_TO_63, 64, 65, 66, 67, RETORT_BIND_32(0),
                 RETORT_BIND_32(32));
  else
    RETORT_WGMMA(256,
                 RETORT_SUMS_0_TO_31 ", " RETORT_SUMS_32_TO_63 ", " RETORT_SUMS_64_TO_95 ", " RETORT_SUMS_96_TO_127,
                 128, 129, 130, 131, RETORT_BIND_32(0), RETORT_BIND_32(32), RETORT_BIND_32(64), RETORT_BIND_32(96));
}
#undef RETORT_WGMMA
#undef RETORT_BIND_32
#undef RETORT_BIND_8
#undef RETORT_SUMS_96_TO_127
#undef RETORT_SUMS_64_TO_95
#undef RETORT_SUMS_32_TO_63
#undef RETORT_SUMS_0_TO_31

template <int kRegisters>
__device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
__device__ __forceinline__ bool elect() {
  std::uint32_t elected = 0;
  asm volatile("{\n .reg .pred p;\n elect.sync _|p, 0xFFFFFFFF;\n selp.b32 %0, 1, 0, p;\n}" : "=r"(elected));
  return elected != 0;
}
__device__ __forceinline__ void stmatrix_x4(void* row, const std::uint32_t (&registers)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(registers[0]), "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
               : "memory");
}
template <unsigned kId>
__device__ __forceinline__ void group_barrier(unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"n"(kId), "r"(threads) : "memory");
}

}  // namespace retort::dev
