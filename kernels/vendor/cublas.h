// Matrix products by cuBLAS (contract: kernels/gemm.h).
#pragma once

#include "kernels/gemm.h"
#include "kernels/vendor/arithmetic.h"

namespace retort::vendor {

/// An empty string if cuBLAS can be used, else why not.
const char* cublas_unavailable();

/// None: cuBLAS brings its own.
std::size_t gemm_workspace_bytes(const GemmGeometry& g);
template <Arithmetic kArithmetic>
void gemm_run(Stream, const GemmGeometry& g, const void* a, const void* b, const void* bias, bool relu, void* c,
              void* workspace);

}  // namespace retort::vendor
