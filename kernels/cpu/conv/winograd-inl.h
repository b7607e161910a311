// The one-dimensional transforms of Winograd's F(4, 3): four outputs of a 3-tap filter from six inputs with six
// multiplications (Lavin & Gray, arXiv 1509.09308), by Toom and Cook's interpolation at the points 0, a, -a, b, -b and
// infinity:
//
//   y = A^T [ (G g) * (B^T d) ],      d six inputs, g three taps, y four outputs
//
// a = 5/8 and b = 3/2 err half as much as the usual 1 and 2 (docs/numerics.md), and their squares are exact in float.
// In two dimensions a transform runs along the columns, then along the rows. Included once per target.
#if defined(RETORT_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_WINOGRAD_INL_H_
#undef RETORT_WINOGRAD_INL_H_
#else
#define RETORT_WINOGRAD_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/cpu/gemm/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

namespace points {
constexpr float kA = 0.625f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;
constexpr float kSum = kA2 + kB2, kProduct = kA2 * kB2;
// 1 / M'(p) for M = x (x^2 - a^2) (x^2 - b^2), which the filter's transform divides by.
constexpr float kAt0 = 1 / kProduct, kAtA = 1 / (2 * kA2 * (kA2 - kB2)), kAtB = 1 / (2 * kB2 * (kB2 - kA2));
}  // namespace points

/// B^T: six inputs -> six. Row p holds the coefficients of M / (x - p); the last those of M.
struct InputTransform {
  static constexpr int kFrom = 6, kTo = 6;
  HWY_INLINE void operator()(const Vector (&d)[kFrom], Vector (&t)[kTo]) const {
    using namespace points;
    const F32 f;
    const Vector even_a = hn::NegMulAdd(hn::Set(f, kB2), d[2], d[4]);
    const Vector even_b = hn::NegMulAdd(hn::Set(f, kA2), d[2], d[4]);
    const Vector odd_a = hn::NegMulAdd(hn::Set(f, kB2), d[1], d[3]);
    const Vector odd_b = hn::NegMulAdd(hn::Set(f, kA2), d[1], d[3]);
    t[0] = hn::MulAdd(hn::Set(f, kProduct), d[0], hn::NegMulAdd(hn::Set(f, kSum), d[2], d[4]));
    t[1] = hn::MulAdd(hn::Set(f, kA), odd_a, even_a);
    t[2] = hn::NegMulAdd(hn::Set(f, kA), odd_a, even_a);
    t[3] = hn::MulAdd(hn::Set(f, kB), odd_b, even_b);
    t[4] = hn::NegMulAdd(hn::Set(f, kB), odd_b, even_b);
    t[5] = hn::MulAdd(hn::Set(f, kProduct), d[1], hn::NegMulAdd(hn::Set(f, kSum), d[3], d[5]));
  }
};

/// G: three taps -> six. Row p is (1, p, p^2) / M'(p).
struct FilterTransform {
  static constexpr int kFrom = 3, kTo = 6;
  HWY_INLINE void operator()(const Vector (&g)[kFrom], Vector (&t)[kTo]) const {
    using namespace points;
    const F32 f;
    const Vector even_a = hn::Mul(hn::MulAdd(hn::Set(f, kA2), g[2], g[0]), hn::Set(f, kAtA));
    const Vector even_b = hn::Mul(hn::MulAdd(hn::Set(f, kB2), g[2], g[0]), hn::Set(f, kAtB));
    t[0] = hn::Mul(g[0], hn::Set(f, kAt0));
    t[1] = hn::MulAdd(hn::Set(f, kA * kAtA), g[1], even_a);
    t[2] = hn::NegMulAdd(hn::Set(f, kA * kAtA), g[1], even_a);
    t[3] = hn::MulAdd(hn::Set(f, kB * kAtB), g[1], even_b);
    t[4] = hn::NegMulAdd(hn::Set(f, kB * kAtB), g[1], even_b);
    t[5] = g[2];
  }
};

/// A^T: six products -> four outputs. Row j holds p^j.
struct OutputTransform {
  static constexpr int kFrom = 6, kTo = 4;
  HWY_INLINE void operator()(const Vector (&m)[kFrom], Vector (&y)[kTo]) const {
    using namespace points;
    const F32 f;
    const Vector sum_a = hn::Add(m[1], m[2]), difference_a = hn::Sub(m[1], m[2]);
    const Vector sum_b = hn::Add(m[3], m[4]), difference_b = hn::Sub(m[3], m[4]);
    y[0] = hn::Add(m[0], hn::Add(sum_a, sum_b));
    y[1] = hn::MulAdd(hn::Set(f, kB), difference_b, hn::Mul(hn::Set(f, kA), difference_a));
    y[2] = hn::MulAdd(hn::Set(f, kB2), sum_b, hn::Mul(hn::Set(f, kA2), sum_a));
    y[3] = hn::MulAdd(hn::Set(f, kB * kB2), difference_b, hn::MulAdd(hn::Set(f, kA * kA2), difference_a, m[5]));
  }
};

/// A: four gradients of outputs -> six of products.
struct OutputGradient {
  static constexpr int kFrom = 4, kTo = 6;
  HWY_INLINE void operator()(const Vector (&dy)[kFrom], Vector (&t)[kTo]) const {
    using namespace points;
    const F32 f;
    const Vector even_a = hn::MulAdd(hn::Set(f, kA2), dy[2], dy[0]), odd_a = hn::MulAdd(hn::Set(f, kA2), dy[3], dy[1]);
    const Vector even_b = hn::MulAdd(hn::Set(f, kB2), dy[2], dy[0]), odd_b = hn::MulAdd(hn::Set(f, kB2), dy[3], dy[1]);
    t[0] = dy[0];
    t[1] = hn::MulAdd(hn::Set(f, kA), odd_a, even_a);
    t[2] = hn::NegMulAdd(hn::Set(f, kA), odd_a, even_a);
    t[3] = hn::MulAdd(hn::Set(f, kB), odd_b, even_b);
    t[4] = hn::NegMulAdd(hn::Set(f, kB), odd_b, even_b);
    t[5] = dy[3];
  }
};

/// G^T: six gradients of transformed taps -> three of taps.
struct FilterGradient {
  static constexpr int kFrom = 6, kTo = 3;
  HWY_INLINE void operator()(const Vector (&u)[kFrom], Vector (&dg)[kTo]) const {
    using namespace points;
    const F32 f;
    const Vector sum_a = hn::Mul(hn::Add(u[1], u[2]), hn::Set(f, kAtA));
    const Vector sum_b = hn::Mul(hn::Add(u[3], u[4]), hn::Set(f, kAtB));
    dg[0] = hn::MulAdd(u[0], hn::Set(f, kAt0), hn::Add(sum_a, sum_b));
    dg[1] = hn::MulAdd(hn::Set(f, kB * kAtB), hn::Sub(u[3], u[4]), hn::Mul(hn::Set(f, kA * kAtA), hn::Sub(u[1], u[2])));
    dg[2] = hn::MulAdd(hn::Set(f, kB2), sum_b, hn::MulAdd(hn::Set(f, kA2), sum_a, u[5]));
  }
};

/// A transform in two dimensions of kFrom x kFrom vectors: load(i, j) gives them, store(i, j, value) takes kTo x kTo.
template <class Transform, class Load, class Store>
HWY_INLINE void transform_tile(const Load& load, const Store& store) {
  constexpr int kFrom = Transform::kFrom, kTo = Transform::kTo;
  const Transform transform;
  Vector half[kTo][kFrom];
#pragma GCC unroll 6
  for (int j = 0; j < kFrom; ++j) {
    Vector column[kFrom], result[kTo];
#pragma GCC unroll 6
    for (int i = 0; i < kFrom; ++i) column[i] = load(i, j);
    transform(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < kTo; ++i) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kTo; ++i) {
    Vector result[kTo];
    transform(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < kTo; ++j) store(i, j, result[j]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif  // RETORT_WINOGRAD_INL_H_
