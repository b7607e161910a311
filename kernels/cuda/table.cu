// The tables of the CUDA kernels. Compiled twice, as all of this folder: for the device and for the simulator. Each
// family of kernels is a file of this folder and ends with one of the functions below.
#include "kernels/cuda/table.h"

#include "kernels/bfloat16.h"
#include "kernels/cuda/backend.h"

namespace retort::RETORT_BACKEND {

/// How products are multiplied: conv2d-inl.h.
struct exact_f32;
struct tf32;
struct bf16;

template <class Kind>
GemmKernels gemm();
template <class Kind>
Conv2dKernels conv2d();
/// Those of bf16 where the device has compute capability 9.0, else gemm<bf16> and conv2d<bf16>: hopper_conv2d.cu.
GemmKernels hopper_gemm();
Conv2dKernels hopper_conv2d();
template <class T>
BatchNormKernels batch_norm();
template <class T>
ElementwiseKernels elementwise();
template <class T>
PoolKernels pool();
template <class T>
DropoutKernels dropout();
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
template <class T>
MatmulKernels matmul();
template <class T>
NormalizeKernels normalize();

namespace {

/// T: of the elements.
template <class T>
KernelTable table(const char* name, const GemmKernels& gemm, const Conv2dKernels& conv2d) {
  return {.name = name,
          .gemm = gemm,
          .conv2d = conv2d,
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
          .matmul = matmul<T>(),
          .normalize = normalize<T>()};
}

#if defined(__CUDACC__)
#define RETORT_NAME "cuda"
#else
#define RETORT_NAME "simt"
#endif

// Made before main: in sources compiled for the simulator, a function's statics are not safe from threads.
const KernelTable f32 = table<float>(RETORT_NAME, gemm<exact_f32>(), conv2d<exact_f32>());
const KernelTable f32_by_tf32 = table<float>(RETORT_NAME "_tf32", gemm<tf32>(), conv2d<tf32>());
const KernelTable elements_bf16 = table<BFloat16>(RETORT_NAME "_bf16", hopper_gemm(), hopper_conv2d());

}  // namespace

const KernelTable& table_f32() { return f32; }
const KernelTable& table_tf32() { return f32_by_tf32; }
const KernelTable& table_bf16() { return elements_bf16; }

}  // namespace retort::RETORT_BACKEND
