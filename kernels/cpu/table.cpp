// The CPU's kernel tables: one per instruction set and dtype. Each target compiles its families' kernels, and here the
// tables that point at them; table() picks those of the level in use.
#include "kernels/table.h"

#include <span>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/cpu/conv/algorithm.h"
#include "kernels/cpu/gemm/block_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/table.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef RETORT_KERNELS_CPU_TABLE_SHARED_
#define RETORT_KERNELS_CPU_TABLE_SHARED_
namespace retort::cpu {

template <class T>
DropoutKernels dropout();  // compiled once

namespace {

/// What a level has for elements of type T.
template <class T>
struct LevelOf {
  KernelTable table;
  std::span<const ConvAlgorithm<T>> conv_algorithms;
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

template <class Arithmetic>
GemmKernels gemm();
template <class Arithmetic>
Conv2dKernels conv2d();
template <class Arithmetic>
std::span<const ConvAlgorithm<typename Arithmetic::Element>> conv_algorithms();
template <class T>
BatchNormKernels batch_norm();
template <class T>
ElementwiseKernels elementwise();
template <class T>
PoolKernels pool();
template <class T>
SoftmaxKernels softmax();
template <class T>
LossKernels loss();
OptimizerKernels optimizer();
template <class T>
ActivationKernels activation();
template <class T>
SpatialKernels spatial();
template <class T>
LayerNormKernels layer_norm();
template <class Arithmetic>
MatmulKernels matmul();
template <class T>
NormalizeKernels normalize();

namespace {

template <class Arithmetic>
const LevelOf<typename Arithmetic::Element>& level_of(const char* name) {
  using T = typename Arithmetic::Element;
  static const LevelOf<T> level = {.table = {.name = name,
                                             .gemm = gemm<Arithmetic>(),
                                             .conv2d = conv2d<Arithmetic>(),
                                             .batch_norm = batch_norm<T>(),
                                             .elementwise = elementwise<T>(),
                                             .pool = pool<T>(),
                                             .dropout = dropout<T>(),
                                             .softmax = softmax<T>(),
                                             .loss = loss<T>(),
                                             .optimizer = optimizer(),
                                             .activation = activation<T>(),
                                             .spatial = spatial<T>(),
                                             .layer_norm = layer_norm<T>(),
                                             .matmul = matmul<Arithmetic>(),
                                             .normalize = normalize<T>()},
                                   .conv_algorithms = conv_algorithms<Arithmetic>()};
  return level;
}

template <class T>
const LevelOf<T>& level([[maybe_unused]] SimdLevel present) {
  if constexpr (std::is_same_v<T, float>)
    return level_of<FloatArithmetic>("cpu");
  else {
#if HWY_TARGET == HWY_AVX3
    if (present == SimdLevel::avx512_bf16) return level_of<NativeBf16>("cpu_bf16");
#endif
    return level_of<WidenedBf16>("cpu_bf16");
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

template <class T>
const LevelOf<T>& present_level() {
  return RETORT_SIMD_SELECT(level<T>)(simd_level());
}

}  // namespace

template <class T>
const KernelTable& table() {
  return present_level<T>().table;
}

template <class T>
std::span<const ConvAlgorithm<T>> conv_algorithms() {
  return present_level<T>().conv_algorithms;
}

template const KernelTable& table<float>();
template const KernelTable& table<BFloat16>();
template std::span<const ConvAlgorithm<float>> conv_algorithms<float>();
template std::span<const ConvAlgorithm<BFloat16>> conv_algorithms<BFloat16>();

}  // namespace retort::cpu
#endif
