// How far off losses and their gradients may be, derived from a backend's arithmetic.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/cases/arithmetic.h"

namespace retort::test {

/// Logits as T holds them, and every kind of hard target for one batch.
struct Logits {
  Rows rows;
  double range;
  std::vector<double> z, v;
  std::vector<float> weight;
  std::vector<std::int64_t> labels, labels2;

  std::int64_t count() const { return rows.rows * rows.classes; }
};

/// Which hard targets a loss reads.
struct Hard {
  bool mixup = false;
  double smoothing = 0;
};

/// Bound on the error of a logarithm of a softmax whose relative error is `noise`: that of the sum under it, and as
/// much for the exponent and for the mean over rows.
inline double logarithm_error(double noise) { return 2 * noise; }

/// Bound on the error of sum p (log p - log q): the logarithms', and p's own times differences of at most twice the
/// exponents' bound.
inline double divergence_error(double noise, double argument) { return noise * (2 + 2 * argument); }

namespace loss_cases {

inline std::vector<double> softmax(const Logits& logits, const std::vector<double>& x, double temperature) {
  std::vector<double> y(x.size());
  oracle().softmax.forward({}, logits.rows, temperature, x.data(), y.data());
  return y;
}

/// The hard targets' distribution.
inline std::vector<double> targets(const Logits& logits, const Hard& hard) {
  const std::int64_t classes = logits.rows.classes;
  std::vector<double> t(logits.z.size(), hard.smoothing / static_cast<double>(classes));
  for (std::int64_t row = 0; row < logits.rows.rows; ++row) {
    const double weight = hard.mixup ? double{logits.weight[row]} : 1;
    t[row * classes + logits.labels[row]] += (1 - hard.smoothing) * weight;
    t[row * classes + logits.labels2[row]] += (1 - hard.smoothing) * (1 - weight);
  }
  return t;
}

/// How far off losses (total, hard, soft) and each element of the gradient may be.
struct Bounds {
  std::vector<double> losses, dz;
};

/// softmax(z) - t and q - p: differences of numbers that err by their share of `noise`.
inline Bounds bounds(const Arithmetic& arithmetic, const Logits& logits, const DistillationSettings& s,
                     const Hard& hard) {
  const double t = s.temperature, w = weight_of_soft(s), spread = 2 * logits.range;
  const bool convex = s.convention == Convention::convex;
  const double hard_noise = arithmetic.softmax_in_loss(logits.rows.classes, spread),
               soft_noise = arithmetic.softmax_in_loss(logits.rows.classes, spread / t);
  const double of_hard = logarithm_error(hard_noise),
               of_soft = (convex ? t * t : 1) * divergence_error(soft_noise, spread / t);
  const auto share = [&](double x) { return arithmetic.of_the_largest ? 1 : x; };
  const std::vector<double> of_z = softmax(logits, logits.z, 1), q = softmax(logits, logits.z, t),
                            p = softmax(logits, logits.v, t), labels = targets(logits, hard);
  // In float a target takes three roundings, and the gradient's scale as many.
  const double label_noise = (arithmetic.losses_in_float ? 4 : 1) * epsilon32;
  Bounds bounds = {{s.lambda * of_hard + w * of_soft, of_hard, of_soft}, {}};
  for (std::size_t i = 0; i < of_z.size(); ++i) {
    const double of_labels = s.lambda * (hard_noise * share(of_z[i]) + label_noise * share(labels[i])),
                 of_teacher = w * (convex ? t : 1 / t) * soft_noise * (share(q[i]) + share(p[i]));
    bounds.dz.push_back((of_labels + of_teacher) / static_cast<double>(logits.rows.rows));
  }
  return bounds;
}

}  // namespace loss_cases
namespace soft_loss_cases {

/// How far off a soft term may be: its value, and each element of its gradient.
struct Bounds {
  double loss = 0;
  std::vector<double> dz;
};

/// The logits that a loss sees, and what seeing them cost.
struct Seen {
  std::vector<double> z, v;
  double range = 0;  ///< the largest of them
  double lost = 0;   ///< error of one, where mean and deviation are taken in float
  double back = 1;   ///< of a gradient by the seen logits on its way to the given ones: it divides by the deviation,
                     ///< twice over for its part along the logits
};

inline Seen see(const Arithmetic& arithmetic, const Logits& logits, bool standardize) {
  Seen seen{.z = logits.z, .v = logits.v, .range = logits.range};
  if (!standardize) return seen;
  const auto classes = static_cast<double>(logits.rows.classes);
  double narrowest = std::numeric_limits<double>::infinity(), narrowest_student = narrowest;
  seen.range = 0;
  for (auto* net : {&seen.z, &seen.v})
    for (std::int64_t row = 0; row < logits.rows.rows; ++row) {
      const auto begin = net->begin() + row * logits.rows.classes, end = begin + logits.rows.classes;
      double mean = 0, square = 0;
      for (auto x = begin; x != end; ++x) mean += *x / classes;
      for (auto x = begin; x != end; ++x) square += (*x - mean) * (*x - mean);
      const double deviation = std::sqrt(square / (classes - 1));
      narrowest = std::min(narrowest, deviation);
      if (net == &seen.z) narrowest_student = std::min(narrowest_student, deviation);
      for (auto x = begin; x != end; ++x) {
        *x = (*x - mean) / (deviation + kStandardFloor);
        seen.range = std::max(seen.range, std::fabs(*x));
      }
    }
  // Deviation and mean carry a sum's noise, relative to the largest logit; seen logits carry that over the deviation.
  if (arithmetic.losses_in_float)
    seen.lost = 2 * arithmetic.softmax_in_loss(logits.rows.classes, 0) * (2 * logits.range / narrowest + seen.range);
  seen.back = 2 / narrowest_student;
  return seen;
}

/// DIST in double: what divides by what. Rounding p and q by a relative eta moves a correlation by eta (|p| / |p -
/// mean| + |q| / |q - mean|), norms over the row or the column, and its gradient by as much of the gradient's own
/// largest element, 1 / |q - mean|.
inline Bounds dist_bounds(Rows rows, double temperature, double weight_of_classes, const Seen& seen, double eta) {
  std::vector<double> p(seen.z.size()), q(seen.z.size());
  oracle().softmax.forward({}, rows, temperature, seen.v.data(), p.data());
  oracle().softmax.forward({}, rows, temperature, seen.z.data(), q.data());
  struct Line {
    double loss, slope;
  };
  const auto line = [&](std::int64_t begin, std::int64_t stride, std::int64_t n) {
    const auto ratio = [&](const std::vector<double>& x, double* norm) {
      double mean = 0, square = 0, centred = kPearsonFloor;
      for (std::int64_t i = 0; i < n; ++i) mean += x[begin + i * stride] / static_cast<double>(n);
      for (std::int64_t i = 0; i < n; ++i) {
        const double value = x[begin + i * stride];
        square += value * value;
        centred += (value - mean) * (value - mean);
      }
      *norm = std::sqrt(centred);
      return std::sqrt(square / centred);
    };
    double norm_p = 0, norm_q = 0;
    const double lost = eta * (ratio(p, &norm_p) + ratio(q, &norm_q));
    return Line{2 * lost, 4 * lost / norm_q};
  };
  const auto n = static_cast<double>(rows.rows), classes = static_cast<double>(rows.classes);
  Bounds bounds{0, std::vector<double>(seen.z.size())};
  std::vector<Line> of_rows, of_classes;
  for (std::int64_t i = 0; i < rows.rows; ++i) of_rows.push_back(line(i * rows.classes, 1, rows.classes));
  for (std::int64_t j = 0; j < rows.classes; ++j) of_classes.push_back(line(j, rows.classes, rows.rows));
  for (const Line& row : of_rows) bounds.loss += row.loss / n;
  for (const Line& column : of_classes) bounds.loss += weight_of_classes * column.loss / classes;
  double steepest = 0;
  for (const Line& column : of_classes) steepest = std::max(steepest, weight_of_classes * column.slope / classes);
  // q_i (g_i - sum_j q_j g_j) / T: the error of both g, and of q twice.
  for (std::int64_t k = 0; k < rows.rows * rows.classes; ++k)
    bounds.dz[k] = 4 * q[k] * (of_rows[k / rows.classes].slope / n + steepest) / temperature;
  return bounds;
}

/// A logarithm of a probability errs by noise * (1 + its exponent's bound), since the exponents' factor and,
/// standardised, the deviation are rounded too; a difference of two probabilities by 2 noise.
inline Bounds bounds(const Arithmetic& arithmetic, const Logits& logits, const DistillationSettings& s) {
  const Rows rows = logits.rows;
  const Seen seen = see(arithmetic, logits, s.standardize);
  // Standardised logits lie within two deviations of their mean, all but a few.
  const double spread = s.standardize ? std::min(2 * seen.range, 4.0) : 2 * seen.range;
  const double t = s.temperature, classes = static_cast<double>(rows.classes);
  const auto noise_at = [&](double temperature) {
    return arithmetic.softmax_in_loss(rows.classes, spread / temperature) + seen.lost / temperature;
  };
  const double noise = noise_at(t), noise_of_1 = noise_at(1), either = std::max(noise, noise_of_1);
  const double kl = divergence_error(noise, spread / t), kl_of_1 = divergence_error(noise_of_1, spread);
  const double kl_of_both = divergence_error(either, std::max(spread, spread / t));  // T on the teacher's side alone
  const double unsure = std::max(1.0, std::pow(classes, 1 - 1 / t));                 // wttm's weight at most
  double loss = 0, gradient = 0;
  switch (s.loss) {
    case SoftLoss::kd:
      loss = s.convention == Convention::convex ? t * t * kl : kl;
      gradient = (s.convention == Convention::convex ? t : 1 / t) * 2 * noise;
      break;
    case SoftLoss::mse:
      // A square of a difference: noise is relative to it, what was lost in seeing is not.
      loss = noise_of_1 * spread * spread / 2 + 2 * spread * seen.lost;
      gradient = (2 * epsilon32 * spread + 2 * seen.lost) / classes;
      break;
    case SoftLoss::dkd:
      loss = (1 + constant_of(s)) * t * t * kl;
      gradient = (1 + constant_of(s)) * t * 2 * noise;
      break;
    case SoftLoss::nkd:
      loss = kl_of_1 + constant_of(s) * t * t * kl;
      gradient = 2 * noise_of_1 + constant_of(s) * t * 2 * noise;
      break;
    case SoftLoss::dist: {
      // Centring leaves a part of the probabilities, their rounding all of it: a hundredth in columns of few rows.
      const double most = 100 * noise;
      Bounds dist = dist_bounds(rows, t, constant_of(s), seen, noise);
      dist.loss = std::min(dist.loss, most);
      for (double& bound : dist.dz) bound = seen.back * std::min(bound, most / static_cast<double>(rows.rows));
      return dist;
    }
    case SoftLoss::ttm:
      loss = kl_of_both;
      gradient = 2 * either;
      break;
    case SoftLoss::wttm:
      loss = 2 * unsure * kl_of_both;
      gradient = 2 * unsure * 2 * either;
      break;
  }
  return {loss, std::vector<double>(logits.z.size(), seen.back * gradient / static_cast<double>(rows.rows))};
}

}  // namespace soft_loss_cases
}  // namespace retort::test
