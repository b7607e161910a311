// Products of many matrices of one shape, each of which may lie inside a larger one: C_ij [m, n] = op(A_ij) op(B_ij),
// i < outer, j < inner. So the heads of attention are multiplied where they lie side by side in a token's channels.
// op(A) is A [m, k], or the transpose of A [k, m] with transpose_a; likewise B [k, n] or [n, k]. Elements of C's
// matrices are overwritten, what lies between them is left alone.
#pragma once

#include "kernels/types.h"

namespace retort {

/// Where matrix (i, j) begins, and elements from row to row, as it is stored: i * outer_step + j * inner_step. The
/// elements of a row are neighbours.
struct MatrixPlace {
  std::int64_t outer_step = 0, inner_step = 0, row_step = 0;
};

struct MatmulGeometry {
  std::int64_t outer = 1, inner = 1, m = 1, n = 1, k = 1;
  bool transpose_a = false, transpose_b = false;
  MatrixPlace a, b, c;
};

struct MatmulKernels {
  Required<std::size_t(const MatmulGeometry&)> workspace_bytes;
  Required<void(Stream, const MatmulGeometry&, const void* a, const void* b, void* c, void* workspace)> run;
};

}  // namespace retort
