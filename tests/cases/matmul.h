// Products of many matrices on any backend: exact on small integers, within the bound of a dot product on reals, and
// nothing written between the matrices of C.
#pragma once

#include <cmath>

#include "tests/cases/backend.h"

namespace retort::test {
namespace matmul_cases {

struct MatmulShape {
  std::int64_t outer, heads, m, n, k;
  Work work;
};

// One element, edges of vectors and tiles, attention's own, more depth than a slice.
inline constexpr MatmulShape kShapes[] = {{1, 1, 1, 1, 1, Work::little},    {2, 3, 5, 7, 3, Work::little},
                                          {1, 2, 17, 33, 9, Work::little},  {2, 2, 65, 64, 16, Work::usual},
                                          {1, 3, 197, 197, 64, Work::much}, {1, 2, 50, 24, 197, Work::usual},
                                          {3, 1, 31, 130, 40, Work::usual}};

/// Heads apart, or side by side in each row.
inline MatrixPlace place(bool apart, std::int64_t heads, std::int64_t rows, std::int64_t columns) {
  return apart ? MatrixPlace{heads * rows * columns, rows * columns, columns}
               : MatrixPlace{heads * rows * columns, columns, heads * columns};
}

/// Variant: bits say which operands are transposed, and of which the heads are side by side.
inline MatmulGeometry geometry(const MatmulShape& s, int variant) {
  const bool transpose_a = (variant & 1) != 0, transpose_b = (variant & 2) != 0;
  const auto operand = [&](int bit, bool transposed, std::int64_t rows, std::int64_t columns) {
    return place((variant & bit) == 0, s.heads, transposed ? columns : rows, transposed ? rows : columns);
  };
  return {.outer = s.outer,
          .inner = s.heads,
          .m = s.m,
          .n = s.n,
          .k = s.k,
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .a = operand(4, transpose_a, s.m, s.k),
          .b = operand(8, transpose_b, s.k, s.n),
          .c = operand(16, false, s.m, s.n)};
}

template <class T>
std::vector<T> run(const Backend& backend, const MatmulKernels& matmul, const MatmulGeometry& g,
                   const std::vector<T>& a, const std::vector<T>& b) {
  const Buffer<T> left(backend, a), right(backend, b),
      c(backend, static_cast<std::size_t>(g.outer * g.inner * g.m * g.n));
  const Buffer<char> workspace(backend, matmul.workspace_bytes(g));
  matmul.run({}, g, left.get(), right.get(), c.get(), workspace.get());
  return c.values();
}

inline void integers_are_exact(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const MatmulShape& s : kShapes) {
      if (s.work > backend.work) continue;
      const std::vector<float> a = integers<float>(s.outer * s.heads * s.m * s.k, 1, -3, 3),
                               b = integers<float>(s.outer * s.heads * s.k * s.n, 2, -3, 3);
      for (int variant = 0; variant < 32; ++variant) {
        CAPTURE(s.m);
        CAPTURE(s.k);
        CAPTURE(variant);
        const MatmulGeometry g = geometry(s, variant);
        const std::vector<double> expected = rounded<T>(run(host(), oracle().matmul, g, wide(a), wide(b)));
        for_each_mode(backend, [&](const Mode& mode) {
          if (!mode.affords(s.work)) return;
          CHECK(count_different(run(backend, table.matmul, g, as<T>(a), as<T>(b)), expected) == 0);
        });
      }
    }
  });
}

inline void reals_are_within_the_bound(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const MatmulShape s = {2, 3, 20, 24, 40, Work::little};
    const std::vector<float> a = held<T>(normal(s.outer * s.heads * s.m * s.k, 1)),
                             b = held<T>(normal(s.outer * s.heads * s.k * s.n, 3));
    for (int variant = 0; variant < 32; ++variant) {
      CAPTURE(variant);
      const MatmulGeometry g = geometry(s, variant);
      const std::vector<double> expected = run(host(), oracle().matmul, g, wide(a), wide(b)),
                                magnitude = run(host(), oracle().matmul, g, absolute(wide(a)), absolute(wide(b)));
      SameBits same;
      for_each_mode(backend, [&](const Mode& mode) {
        const std::vector<T> found = run(backend, table.matmul, g, as<T>(a), as<T>(b));
        CHECK(holds(backend, found, expected, [&](std::size_t i) { return dot_tolerance(g.k, magnitude[i]); }));
        same.check(mode, {wide(found)});
      });
    }
  });
}

/// Matrices that lie inside larger ones: a column of C's rows, and a row between its matrices, belong to nobody.
inline void gaps_stay(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const MatmulGeometry g = {
        .outer = 2, .inner = 1, .m = 3, .n = 4, .k = 2, .a = {6, 0, 2}, .b = {0, 0, 4}, .c = {20, 0, 5}};
    const std::vector<T> a = as<T>(integers<float>(12, 1, -3, 3)), b = as<T>(integers<float>(8, 2, -3, 3));
    std::vector<double> expected(40, 77);
    oracle().matmul.run({}, g, wide(a).data(), wide(b).data(), expected.data(), nullptr);
    for_each_mode(backend, [&](const Mode&) {
      const Buffer<T> left(backend, a), right(backend, b), c(backend, std::vector<T>(40, T(77.0f)));
      const Buffer<char> workspace(backend, table.matmul.workspace_bytes(g));
      table.matmul.run({}, g, left.get(), right.get(), c.get(), workspace.get());
      CHECK(count_different(c.wide(), expected) == 0);
    });
  });
}

}  // namespace matmul_cases

inline const std::vector<Case> kMatmulCases = {
    {"small integers are exact for every place of the heads and transposition", matmul_cases::integers_are_exact},
    {"real values are within the bound of a dot product, the same bits in every mode",
     matmul_cases::reals_are_within_the_bound},
    {"what lies between the matrices of C stays", matmul_cases::gaps_stay},
};

}  // namespace retort::test
