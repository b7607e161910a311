// Run-time choice of the instruction set. A kernel file is compiled once per target through Highway's foreach_target,
// each time in a namespace of that target, and ends with a function that returns its family's struct of entries.
// table.cpp makes a table per target of these and picks one by RETORT_SIMD_SELECT. Only Highway's headers are used, no
// library.
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cpp"
//   #include "kernels/cpu/simd/simd.h"           // before foreach_target: it limits the targets
//   #include <hwy/foreach_target.h>
//   #include <hwy/highway.h>
//   HWY_BEFORE_NAMESPACE();
//   namespace retort::cpu { namespace HWY_NAMESPACE {
//   template <class T> SoftmaxKernels softmax() {...}
//   }}
//   HWY_AFTER_NAMESPACE();
// The compiler fuses products and sums in all code of a target that can. Scalar code whose bits must not depend on the
// target stays outside its namespace, in functions that are not inlined.
#ifndef RETORT_KERNELS_CPU_SIMD_H_
#define RETORT_KERNELS_CPU_SIMD_H_

// Plain C++, AVX2, AVX-512 on x86; NEON on Arm; for WebAssembly arrays of 16 bytes, which clang makes vectors of.
#ifndef HWY_DISABLED_TARGETS
#if defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)  // no array can hold their vectors
#elif defined(RETORT_NO_AVX512)  // a build that only this machine runs, which has none
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_AVX3)
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#endif
#define HWY_COMPILE_ALL_ATTAINABLE
#ifndef __wasm__
#define HWY_BROKEN_EMU128 1  // the plain path is one lane wide
#endif

namespace retort {

/// In ascending order of preference. avx512_bf16 is avx512 whose products of bf16 run by AVX-512 BF16's instructions.
enum class SimdLevel { plain, neon, avx2, avx512, avx512_bf16 };

/// The level in use: the best that the CPU has, or a lower one named by the environment variable RETORT_SIMD
/// (plain, neon, avx2, avx512, avx512_bf16), read once. An unknown or unavailable name is ignored.
SimdLevel simd_level();

/// The level's name as in RETORT_SIMD.
const char* simd_name(SimdLevel level);

/// For tests: forces a level that the CPU has.
void set_simd_level(SimdLevel level);

/// True if this CPU and this build have the level.
bool simd_available(SimdLevel level);

}  // namespace retort

/// `function` of the target that the present level runs. In the namespace that holds the targets'.
#if defined(RETORT_NO_AVX512)
#define RETORT_SIMD_SELECT(function) \
  (::retort::simd_level() == ::retort::SimdLevel::avx2 ? N_AVX2::function : N_SCALAR::function)
#elif defined(__x86_64__)
#define RETORT_SIMD_SELECT(function)                                        \
  (::retort::simd_level() >= ::retort::SimdLevel::avx512 ? N_AVX3::function \
   : ::retort::simd_level() == ::retort::SimdLevel::avx2 ? N_AVX2::function \
                                                         : N_SCALAR::function)
#elif defined(__wasm__)
#define RETORT_SIMD_SELECT(function) N_EMU128::function
#else
#define RETORT_SIMD_SELECT(function) N_NEON::function
#endif

#endif  // RETORT_KERNELS_CPU_SIMD_H_
