// The soft terms of single rows, all but plain KD's and DIST's (formulas: kernels/loss.h), in vectors of floats.
#include <algorithm>
#include <cmath>

#include "kernels/loss.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss/soft_loss.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

#include "kernels/cpu/loss/soft_row-inl.h"
#include "kernels/cpu/loss/soft_terms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// sum exp((x_i - top) / temperature) over the classes but `without`; the exponentials go to `kept` unless that is
/// null.
double exponential_sum(const float* x, std::int64_t classes, std::int64_t without, float top, double temperature,
                       float* kept) {
  const F32 d;
  const Exponential exponential(temperature);
  Sum sum;
  each_class(classes, without, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 e = exponential(hn::Sub(lanes.load(d, x + i), hn::Set(d, top)));
    sum.add(lanes, e);
    if (kept) lanes.store(d, e, kept + i);
  });
  return sum.in_double();
}

enum class Measure { divergence, cross_entropy };

/// What one pass over both nets' logits gives for their softmax q and p. The exponentials stay in row.q and row.p.
struct Comparison {
  double value;         ///< KL(p || q), or CE(p, q)
  double sum_q, sum_p;  ///< of the exponentials
  float top_z, top_v;   ///< the largest logits, which were taken off first

  /// q - p by lanes and class, the difference first: it is 0 where the nets agree.
  auto difference(const SoftRow& row) const {
    const F32 d;
    const V32 p_for_q = hn::Set(d, static_cast<float>(sum_q / sum_p));
    const V32 share = hn::Set(d, static_cast<float>(1 / sum_q));
    return [=, q = row.q, p = row.p](auto lanes, std::int64_t i) HWY_ATTR {
      return hn::Mul(hn::NegMulAdd(p_for_q, lanes.load(F32(), p + i), lanes.load(F32(), q + i)), share);
    };
  }
};

/// q = softmax(z / of_student) and p = softmax(v / T) of what the loss sees, over the classes but `without`.
template <Measure kMeasure>
Comparison compare(const SoftRow& row, double of_student, std::int64_t without = -1) {
  const F32 d;
  const double student_t = row.student_temperature(of_student), teacher_t = row.teacher_temperature(row.temperature);
  const Exponential student(student_t), teacher(teacher_t);
  const float top_z = maximum(row.z, row.classes, without), top_v = maximum(row.v, row.classes, without);
  const V32 ratio = hn::Set(d, static_cast<float>(student_t / teacher_t));
  Sum sum_q, sum_p, sum_cross;
  each_class(row.classes, without, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 a = hn::Sub(lanes.load(d, row.z + i), hn::Set(d, top_z));
    const V32 b = hn::Sub(lanes.load(d, row.v + i), hn::Set(d, top_v));
    const V32 e = student(a), f = teacher(b);
    sum_q.add(lanes, e);
    sum_p.add(lanes, f);
    // T (log p - log q) but for the sums: a difference of logits is exact enough where the quotient of two tiny
    // probabilities is not.
    sum_cross.add_product(lanes, f, kMeasure == Measure::divergence ? hn::MulSub(b, ratio, a) : hn::Neg(a));
    lanes.store(d, e, row.q + i);
    lanes.store(d, f, row.p + i);
  });
  const double q = sum_q.in_double(), p = sum_p.in_double();
  const double log_sums = kMeasure == Measure::divergence ? std::log(q / p) : std::log(q);
  return {sum_cross.in_double() / (p * student_t) + log_sums, q, p, top_z, top_v};
}

double mse(const SoftRow& row) {
  const F32 d;
  const V32 of_z = hn::Set(d, static_cast<float>(row.student.inverse));
  const V32 of_v = hn::Set(d, static_cast<float>(row.teacher.inverse));
  Sum square;
  const auto difference = [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 student = row.student.centred(lanes.load(d, row.z + i));
    const V32 teacher = row.teacher.centred(lanes.load(d, row.v + i));
    return hn::MulSub(student, of_z, hn::Mul(teacher, of_v));
  };
  vector_loop(d, 0, row.classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 value = difference(lanes, i);
    square.add_product(lanes, value, value);
  });
  const double share = 1 / static_cast<double>(row.classes);
  add_gradient(row, [&](auto lanes, std::int64_t i)
                        HWY_ATTR { return hn::Mul(difference(lanes, i), hn::Set(d, static_cast<float>(share))); });
  return square.in_double() / 2 * share;
}

/// A comparison's value and gradient, times `scale`.
double scaled(const SoftRow& row, const Comparison& both, double of_student, double scale) {
  const V32 slope = hn::Set(F32(), static_cast<float>(scale / of_student));
  const auto difference = both.difference(row);
  add_gradient(row, [&](auto lanes, std::int64_t i) HWY_ATTR { return hn::Mul(difference(lanes, i), slope); });
  return scale * both.value;
}

double ttm(const SoftRow& row) { return scaled(row, compare<Measure::divergence>(row, 1), 1, 1); }

double wttm(const SoftRow& row) {
  const Comparison both = compare<Measure::divergence>(row, 1);
  const double sum = exponential_sum(row.v, row.classes, -1, both.top_v, row.teacher_temperature(1), nullptr);
  return scaled(row, both, 1, both.sum_p * std::pow(sum, -1 / row.temperature));
}

/// The label's class against the rest: log p_y and log(1 - p_y) from their quotient's logarithm. 1 - p_y itself would
/// lose every digit of a sure net.
struct Odds {
  double log_label, log_rest;
  /// `logit` of the label and `sum` of the others' exponentials, both less the others' largest, at one temperature.
  Odds(double logit, double sum) {
    const double odds = logit - std::log(sum);
    const double least = std::log1p(std::exp(-std::fabs(odds))) + 0 * odds;  // NaN where a logit is infinite
    log_label = std::min(odds, 0.0) - least;
    log_rest = std::min(-odds, 0.0) - least;
  }
  double label() const { return std::exp(log_label); }
  double rest() const { return std::exp(log_rest); }
};

double dkd(const SoftRow& row) {
  if (row.classes == 1) return 0;  // nothing is left over
  const double t = row.temperature;
  const std::int64_t y = row.label;
  const Comparison others = compare<Measure::divergence>(row, t, y);
  const Odds q((double{row.z[y]} - others.top_z) / row.student_temperature(t), others.sum_q);
  const Odds p((double{row.v[y]} - others.top_v) / row.teacher_temperature(t), others.sum_p);
  const double target = p.label() * (p.log_label - q.log_label) + p.rest() * (p.log_rest - q.log_rest);
  const double gap = q.label() - p.label();
  const F32 d;
  const V32 of_difference = hn::Set(d, static_cast<float>(t * row.constant));
  const V32 of_q = hn::Set(d, static_cast<float>(t * gap / others.sum_q));
  const auto gradient = [&, difference = others.difference(row), q_i = row.q](auto lanes, std::int64_t i) HWY_ATTR {
    return hn::NegMulAdd(lanes.load(d, q_i + i), of_q, hn::Mul(difference(lanes, i), of_difference));
  };
  add_gradient(row, gradient, y, t * gap);
  return t * t * (target + row.constant * others.value);
}

double nkd(const SoftRow& row) {
  if (row.classes == 1) return 0;
  const double t = row.temperature;
  const std::int64_t y = row.label;
  const Comparison others = compare<Measure::cross_entropy>(row, t, y);
  const double student_t = row.student_temperature(1), teacher_t = row.teacher_temperature(1);
  const double sum_s = exponential_sum(row.z, row.classes, y, others.top_z, student_t, row.s);
  const double sum_v = exponential_sum(row.v, row.classes, y, others.top_v, teacher_t, nullptr);
  const Odds s((double{row.z[y]} - others.top_z) / student_t, sum_s);
  const double sure = Odds((double{row.v[y]} - others.top_v) / teacher_t, sum_v).label();
  const F32 d;
  const V32 of_difference = hn::Set(d, static_cast<float>(row.constant * t));
  const V32 of_s = hn::Set(d, static_cast<float>(sure * s.rest() / sum_s));
  const auto gradient = [&, difference = others.difference(row), s_i = row.s](auto lanes, std::int64_t i) HWY_ATTR {
    return hn::MulAdd(lanes.load(d, s_i + i), of_s, hn::Mul(difference(lanes, i), of_difference));
  };
  add_gradient(row, gradient, y, -sure * s.rest());
  return -sure * s.log_label + row.constant * t * t * others.value;
}

}  // namespace

double add_soft_row(Rows rows, const DistillationSettings& settings, const std::int64_t* label, const float* z,
                    const float* v, float* dz, float* kept) {
  const SoftRow row = soft_row(rows, settings, label, 0, z, v, dz, kept);
  const double t = settings.temperature;
  switch (settings.loss) {
    case SoftLoss::mse: return mse(row);
    case SoftLoss::dkd: return dkd(row);
    case SoftLoss::nkd: return nkd(row);
    case SoftLoss::ttm: return ttm(row);
    case SoftLoss::wttm: return wttm(row);
    default:  // kd, of standardised logits
      return settings.convention == Convention::convex ? scaled(row, compare<Measure::divergence>(row, t), t, t * t)
                                                       : scaled(row, compare<Measure::cross_entropy>(row, t), t, 1);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
