#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

RETORT_CONV2D(bf16)

}  // namespace retort::RETORT_BACKEND
