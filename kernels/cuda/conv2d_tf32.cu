#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

RETORT_CONV2D(tf32)

}  // namespace retort::RETORT_BACKEND
