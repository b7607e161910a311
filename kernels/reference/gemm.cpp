#include "kernels/reference/gemm.h"

namespace retort::reference {

std::size_t gemm_workspace_bytes(const GemmGeometry&) { return 0; }

template <class T>
void gemm_run(Stream, const GemmGeometry& g, const void* a_, const void* b_, const void* bias_, bool relu, void* c_,
              void*) {
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  const T* bias = static_cast<const T*>(bias_);
  T* c = static_cast<T*>(c_);
  for (std::int64_t i = 0; i < g.m; ++i)
    for (std::int64_t j = 0; j < g.n; ++j) {
      double sum = bias ? bias[j] : 0;
      for (std::int64_t l = 0; l < g.k; ++l) {
        const double left = g.transpose_a ? a[l * g.m + i] : a[i * g.k + l];
        const double right = g.transpose_b ? b[j * g.k + l] : b[l * g.n + j];
        sum += left * right;
      }
      c[i * g.n + j] = static_cast<T>(relu && sum < 0 ? 0 : sum);
    }
}

template void gemm_run<float>(Stream, const GemmGeometry&, const void*, const void*, const void*, bool, void*, void*);
template void gemm_run<double>(Stream, const GemmGeometry&, const void*, const void*, const void*, bool, void*, void*);

}  // namespace retort::reference
