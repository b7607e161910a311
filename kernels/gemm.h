// General matrix product, row-major: C[m, n] = op(A)[m, k] * op(B)[k, n] + bias[n], then max(0, C) if relu.
// op(A) is A [m, k], or the transpose of A [k, m] with transpose_a; likewise B [k, n] or [n, k]. C is overwritten.
#pragma once

#include "kernels/types.h"

namespace retort {

struct GemmGeometry {
  std::int64_t m = 1, n = 1, k = 1;
  bool transpose_a = false, transpose_b = false;
  bool parameter_c = false;  ///< C is a parameter's gradient: f32 in a bf16 table
};

struct GemmKernels {
  Required<std::size_t(const GemmGeometry&)> workspace_bytes;
  /// bias is [n] or null.
  Required<void(Stream, const GemmGeometry&, const void* a, const void* b, const void* bias, bool relu, void* c,
                void* workspace)>
      run;
};

}  // namespace retort
