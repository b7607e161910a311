// Convolutions and matrix products of bf16 with f32 sums, on the tensor cores.
#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

template Conv2dKernels conv2d<bf16>();
template GemmKernels gemm<bf16>();

}  // namespace retort::RETORT_BACKEND
