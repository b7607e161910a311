// Convolutions and matrix products in f32 throughout, on the ordinary cores.
#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

template Conv2dKernels conv2d<exact_f32>();
template GemmKernels gemm<exact_f32>();

}  // namespace retort::RETORT_BACKEND
