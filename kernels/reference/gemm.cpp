// The oracle's matrix product (contract: kernels/gemm.h). Like every reference kernel it accumulates in double,
// whatever T, and rounds to T once.
#include "kernels/gemm.h"

#include "kernels/entry.h"

namespace retort::reference {
namespace {

std::size_t workspace_bytes(const GemmGeometry&) { return 0; }

template <class T>
void run(Stream, const GemmGeometry& g, const T* a, const T* b, const T* bias, bool relu, T* c, void*) {
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

}  // namespace

template <class T>
GemmKernels gemm() {
  return {.workspace_bytes = workspace_bytes, .run = entry<run<T>>};
}
template GemmKernels gemm<float>();
template GemmKernels gemm<double>();

}  // namespace retort::reference
