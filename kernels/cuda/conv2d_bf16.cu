// Convolutions and matrix products of bf16 with f32 sums, on the tensor cores.
#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

template Conv2dKernels conv2d<bf16>();
template GemmKernels gemm<bf16>();
// For hopper_conv2d.cu.
template void add_parts<BFloat16, Pass::fprop>(Stream, GemmArguments<BFloat16>, int);
template void add_parts<BFloat16, Pass::dgrad>(Stream, GemmArguments<BFloat16>, int);
template void add_parts<BFloat16, Pass::wgrad>(Stream, GemmArguments<BFloat16>, int);

}  // namespace retort::RETORT_BACKEND
