#include "kernels/cuda/conv2d-inl.h"

namespace retort::RETORT_BACKEND {

RETORT_CONV2D(exact_f32)

}  // namespace retort::RETORT_BACKEND
