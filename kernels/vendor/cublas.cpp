// Matrix products by cuBLAS (contract: kernels/gemm.h). cuBLAS takes untyped pointers beside a dtype, and so do these.
#include <cublas_v2.h>

#include <stdexcept>

#include "kernels/cuda/runtime.h"
#include "kernels/gemm.h"
#include "kernels/vendor/arithmetic.h"
#include "kernels/vendor/around.h"
#include "kernels/vendor/library.h"

namespace retort::vendor {

/// An empty string if cuBLAS can be used, else why not.
const char* cublas_unavailable();

namespace {

// cublasGemmEx is overloaded in C++; this is the one that the library exports.
using GemmEx = cublasStatus_t (*)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                                  const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                                  cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);

struct Cublas {
  Library library{"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
  template <class Function>
  Function find(const char* name) {
    return reinterpret_cast<Function>(library.find(name));
  }
  decltype(&cublasCreate_v2) create = find<decltype(create)>("cublasCreate_v2");
  decltype(&cublasSetStream_v2) set_stream = find<decltype(set_stream)>("cublasSetStream_v2");
  GemmEx gemm_ex = find<GemmEx>("cublasGemmEx");
  decltype(&cublasGetStatusString) status_string = find<decltype(status_string)>("cublasGetStatusString");
};

/// Never destroyed: CUDA may be gone when statics are.
Cublas& cublas() {
  static Cublas& instance = *new Cublas;
  return instance;
}

void check(cublasStatus_t status, const char* call, int line) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(failed_call(call, "kernels/vendor/cublas.cpp", line, cublas().status_string(status)));
}
#define RETORT_CHECK(call) check(call, #call, __LINE__)

cublasHandle_t handle() {
  static const cublasHandle_t instance = [] {
    if (*cublas_unavailable()) throw std::runtime_error(std::string("cublas: ") + cublas_unavailable());
    cublasHandle_t created = nullptr;
    RETORT_CHECK(cublas().create(&created));
    return created;
  }();
  return instance;
}

/// None: cuBLAS brings its own.
std::size_t gemm_workspace_bytes(const GemmGeometry&) { return 0; }

template <Arithmetic kArithmetic>
void gemm_run(Stream stream, const GemmGeometry& g, const void* a, const void* b, const void* bias, bool relu, void* c,
              void*) {
  constexpr bool kBf16 = kArithmetic == Arithmetic::bf16;
  constexpr cudaDataType kElement = kBf16 ? CUDA_R_16BF : CUDA_R_32F;
  constexpr cublasComputeType_t kCompute =
      kArithmetic == Arithmetic::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  const DType c_dtype = kBf16 && !g.parameter_c ? DType::bf16 : DType::f32;
  const auto extent = [](std::int64_t value) { return static_cast<int>(value); };
  const float one = 1, zero = 0;
  RETORT_CHECK(cublas().set_stream(handle(), cuda::native(stream)));
  // cuBLAS is column-major: our C is the transpose of its C, so it computes B^T A^T.
  RETORT_CHECK(
      cublas().gemm_ex(handle(), g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                       extent(g.n), extent(g.m), extent(g.k), &one, b, kElement, extent(g.transpose_b ? g.k : g.n), a,
                       kElement, extent(g.transpose_a ? g.m : g.k), &zero, c,
                       c_dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F, extent(g.n), kCompute, CUBLAS_GEMM_DEFAULT));
  finish(stream, g.m, g.n, {.bias = bias, .relu = relu}, c_dtype, c);
}

}  // namespace

const char* cublas_unavailable() { return cublas().library.why_not().c_str(); }

template <Arithmetic kArithmetic>
GemmKernels gemm() {
  return {.workspace_bytes = gemm_workspace_bytes, .run = gemm_run<kArithmetic>};
}
template GemmKernels gemm<Arithmetic::f32>();
template GemmKernels gemm<Arithmetic::tf32>();
template GemmKernels gemm<Arithmetic::bf16>();

}  // namespace retort::vendor
