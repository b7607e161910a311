// What the soft terms on the CPU share: a row as they see it, softened logits, and the way of a gradient back to the
// student's logits. Included once per target, after "kernels/cpu/simd/exponential-inl.h".
#include <cmath>

#include "kernels/loss.h"

#if defined(RETORT_KERNELS_CPU_SOFT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_KERNELS_CPU_SOFT_ROW_INL_H_
#undef RETORT_KERNELS_CPU_SOFT_ROW_INL_H_
#else
#define RETORT_KERNELS_CPU_SOFT_ROW_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// Calls body(lanes, i) over a row's classes but `without`; over all if that is -1.
template <class Body>
HWY_INLINE void each_class(std::int64_t classes, std::int64_t without, const Body& body) {
  vector_loop(F32(), 0, without, body);
  vector_loop(F32(), without + 1, classes, body);
}

/// The largest logit but that of `without`.
inline float maximum(const float* x, std::int64_t classes, std::int64_t without) {
  if (without < 0) return row_maximum(x, classes);
  return std::max(row_maximum(x, without), row_maximum(x + without + 1, classes - without - 1));
}

/// The map from a net's logits to what the loss sees, x -> (x - mean) * inverse; without standardisation x itself. The
/// mean is top + offset, so that logits far from 0 keep their digits.
struct Standard {
  float top = 0, offset = 0;
  double deviation = 1, inverse = 1;

  HWY_INLINE V32 centred(V32 x) const {
    const F32 d;
    return hn::Sub(hn::Sub(x, hn::Set(d, top)), hn::Set(d, offset));
  }
  double centred(float x) const { return double{x} - top - offset; }
};

inline Standard standard_of(const float* x, std::int64_t classes) {
  Standard standard;
  standard.top = row_maximum(x, classes);
  Sum sum, square;
  vector_loop(F32(), 0, classes,
              [&](auto lanes, std::int64_t i) HWY_ATTR { sum.add(lanes, standard.centred(lanes.load(F32(), x + i))); });
  standard.offset = static_cast<float>(sum.in_double() / static_cast<double>(classes));
  vector_loop(F32(), 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 c = standard.centred(lanes.load(F32(), x + i));
    square.add_product(lanes, c, c);
  });
  standard.deviation = std::sqrt(square.in_double() / static_cast<double>(classes - 1));
  standard.inverse = 1 / (standard.deviation + kStandardFloor);
  return standard;
}

/// One row of a batch.
struct SoftRow {
  std::int64_t classes, label;
  double temperature;
  double constant;  ///< of the loss's formula
  bool standardized;
  double scale;  ///< of the gradient that is added to dz
  const float *z, *v;
  float* dz;         ///< may be null
  float *q, *p, *s;  ///< room for a row each: both nets' exponentials, and the student's at T = 1 where needed
  Standard student, teacher;

  // softmax ignores a constant added to all logits, so standardised logits are the logits themselves at another
  // temperature.
  double student_temperature(double t) const { return t / student.inverse; }
  double teacher_temperature(double t) const { return t / teacher.inverse; }
};

/// Row `row` of the batch, `kept` with room for three rows; dz may be null.
inline SoftRow soft_row(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, std::int64_t row,
                        const float* z, const float* v, float* dz, float* kept) {
  const std::int64_t classes = rows.classes, at = row * classes;
  SoftRow result{.classes = classes,
                 .label = labels ? labels[row] : 0,
                 .temperature = settings.temperature,
                 .constant = constant_of(settings),
                 .standardized = settings.standardize,
                 .scale = weight_of_soft(settings) / static_cast<double>(rows.rows),
                 .z = z + at,
                 .v = v + at,
                 .dz = dz ? dz + at : nullptr,
                 .q = kept,
                 .p = kept + classes,
                 .s = kept + 2 * classes,
                 .student = {},
                 .teacher = {}};
  if (settings.standardize) {
    result.student = standard_of(result.z, classes);
    result.teacher = standard_of(result.v, classes);
  }
  return result;
}

/// Adds the gradient to dz. `gradient(lanes, i)` is the loss's derivative by what it sees of the classes from i on; for
/// the class `without` it is `of_without`. It may read row.q at i.
template <class Gradient>
HWY_INLINE void add_gradient(const SoftRow& row, const Gradient& gradient, std::int64_t without = -1,
                             double of_without = 0) {
  if (!row.dz) return;
  const F32 d;
  if (!row.standardized) {
    const V32 scale = hn::Set(d, static_cast<float>(row.scale));
    each_class(row.classes, without, [&](auto lanes, std::int64_t i) HWY_ATTR {
      lanes.store(d, hn::MulAdd(gradient(lanes, i), scale, lanes.load(d, row.dz + i)), row.dz + i);
    });
    if (without >= 0) row.dz[without] += static_cast<float>(row.scale * of_without);
    return;
  }
  // The gradient already adds up to 0, because a constant added to all logits of a row changes no loss. Its component
  // along the logits is taken off: their scale changes nothing either.
  Sum along;
  each_class(row.classes, without, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 g = gradient(lanes, i);
    along.add_product(lanes, g, row.student.centred(lanes.load(d, row.z + i)));
    lanes.store(d, g, row.q + i);
  });
  double total = along.in_double();
  if (without >= 0) {
    row.q[without] = static_cast<float>(of_without);
    total += of_without * row.student.centred(row.z[without]);
  }
  const double inverse = row.student.inverse, spread = row.student.deviation * static_cast<double>(row.classes - 1);
  total = spread > 0 ? total * inverse * inverse / spread : 0 * total;
  const V32 of_gradient = hn::Set(d, static_cast<float>(row.scale * inverse));
  const V32 of_logits = hn::Set(d, static_cast<float>(row.scale * total));
  vector_loop(d, 0, row.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 c = row.student.centred(lanes.load(d, row.z + i));
    const V32 sum = hn::MulAdd(lanes.load(d, row.q + i), of_gradient, lanes.load(d, row.dz + i));
    lanes.store(d, hn::NegMulAdd(c, of_logits, sum), row.dz + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#endif
