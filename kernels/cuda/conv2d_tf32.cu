// Convolutions and matrix products of f32 rounded to tf32, on the tensor cores.
#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

template Conv2dKernels conv2d<tf32>();
template GemmKernels gemm<tf32>();

}  // namespace retort::RETORT_BACKEND
