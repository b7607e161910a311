// The namespace of the launchers: one source of kernels gives retort::cuda, compiled by nvcc for the device, and
// retort::simt, compiled as C++ for the simulator.
#pragma once

#if defined(__CUDACC__)
#define RETORT_BACKEND cuda
#else
#define RETORT_BACKEND simt
#endif
