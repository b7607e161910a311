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
template <class T, class Kind>
KernelTable table(const char* name) {
  return {.name = name,
          .gemm = gemm<Kind>(),
          .conv2d = conv2d<Kind>(),
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
const KernelTable f32 = table<float, exact_f32>(RETORT_NAME);
const KernelTable f32_by_tf32 = table<float, tf32>(RETORT_NAME "_tf32");
const KernelTable elements_bf16 = table<BFloat16, bf16>(RETORT_NAME "_bf16");

}  // namespace

const KernelTable& table_f32() { return f32; }
const KernelTable& table_tf32() { return f32_by_tf32; }
const KernelTable& table_bf16() { return elements_bf16; }

}  // namespace retort::RETORT_BACKEND
