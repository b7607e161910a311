// The oracle's products of many matrices (contract: kernels/matmul.h), sums in double.
#include "kernels/matmul.h"

#include "kernels/entry.h"

namespace retort::reference {
namespace {

std::size_t workspace_bytes(const MatmulGeometry&) { return 0; }

template <class T>
void run(Stream, const MatmulGeometry& g, const T* a, const T* b, T* c, void*) {
  for (std::int64_t batch = 0; batch < g.outer * g.inner; ++batch) {
    const auto begin = [&](const MatrixPlace& place) {
      return batch / g.inner * place.outer_step + batch % g.inner * place.inner_step;
    };
    for (std::int64_t i = 0; i < g.m; ++i)
      for (std::int64_t j = 0; j < g.n; ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l < g.k; ++l) {
          const double left = a[begin(g.a) + (g.transpose_a ? l * g.a.row_step + i : i * g.a.row_step + l)];
          const double right = b[begin(g.b) + (g.transpose_b ? j * g.b.row_step + l : l * g.b.row_step + j)];
          sum += left * right;
        }
        c[begin(g.c) + i * g.c.row_step + j] = static_cast<T>(sum);
      }
  }
}

}  // namespace

template <class T>
MatmulKernels matmul() {
  return {.workspace_bytes = workspace_bytes, .run = entry<run<T>>};
}
template MatmulKernels matmul<float>();
template MatmulKernels matmul<double>();

}  // namespace retort::reference
