// The oracle's soft terms but plain KD's: probabilities, their losses row by row, and dist over the batch.
#include "kernels/reference/soft_loss.h"

#include <algorithm>
#include <cmath>

namespace retort::reference {
namespace {

using Vector = std::vector<double>;

/// log softmax(x / temperature)
Vector log_softmax(const Vector& x, double temperature) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double value : x) sum += std::exp((value - top) / temperature);
  Vector result;
  for (const double value : x) result.push_back((value - top) / temperature - std::log(sum));
  return result;
}

Vector exp(Vector x) {
  for (double& value : x) value = std::exp(value);
  return x;
}

double sum(const Vector& x) {
  double total = 0;
  for (const double value : x) total += value;
  return total;
}

/// From d(loss)/d(log q) to d(loss)/dz for log q = log softmax(z / temperature).
Vector log_softmax_backward(const Vector& log_q, const Vector& dlog_q, double temperature) {
  const double total = sum(dlog_q);
  Vector dz;
  for (std::size_t i = 0; i < log_q.size(); ++i) dz.push_back((dlog_q[i] - std::exp(log_q[i]) * total) / temperature);
  return dz;
}

/// `x` without class y.
Vector without(Vector x, std::size_t y) {
  x.erase(x.begin() + static_cast<std::ptrdiff_t>(y));
  return x;
}

/// x / T over the classes but y is again a softmax: the hats of kernels/loss.h. Its gradient has 0 at y.
Vector non_target_backward(const Vector& log_q_hat, const Vector& dlog_q_hat, double temperature, std::size_t y) {
  Vector dz = log_softmax_backward(log_q_hat, dlog_q_hat, temperature);
  dz.insert(dz.begin() + static_cast<std::ptrdiff_t>(y), 0);
  return dz;
}

struct Loss {
  double value = 0;
  Vector dz;
};

/// KL(p || q) from logarithms, q = softmax(z / temperature).
Loss divergence(const Vector& log_p, const Vector& log_q, double temperature) {
  Loss loss;
  Vector dlog_q;
  for (std::size_t i = 0; i < log_p.size(); ++i) {
    loss.value += std::exp(log_p[i]) * (log_p[i] - log_q[i]);
    dlog_q.push_back(-std::exp(log_p[i]));
  }
  loss.dz = log_softmax_backward(log_q, dlog_q, temperature);
  return loss;
}

void add(Loss& to, const Loss& other, double weight) {
  to.value += weight * other.value;
  to.dz.resize(other.dz.size());
  for (std::size_t i = 0; i < other.dz.size(); ++i) to.dz[i] += weight * other.dz[i];
}

Loss mse(const Vector& z, const Vector& v) {
  Loss loss;
  const auto classes = static_cast<double>(z.size());
  for (std::size_t i = 0; i < z.size(); ++i) {
    loss.value += (z[i] - v[i]) * (z[i] - v[i]) / (2 * classes);
    loss.dz.push_back((z[i] - v[i]) / classes);
  }
  return loss;
}

Loss dkd(const Vector& z, const Vector& v, double temperature, double weight_of_others, std::size_t y) {
  const Vector p = exp(log_softmax(v, temperature)), q = exp(log_softmax(z, temperature));
  const double log_py = log_softmax(v, temperature)[y], log_qy = log_softmax(z, temperature)[y];
  const double other_p = sum(without(p, y)), other_q = sum(without(q, y));
  Loss loss;
  if (other_p == 0 && other_q == 0) return {0, Vector(z.size(), 0)};  // one class
  loss.value = p[y] * (log_py - log_qy) + other_p * (std::log(other_p) - std::log(other_q));
  // log(1 - q_y) falls by q_i / (1 - q_y) dlog q_i taken over the others.
  Vector dlog_q;
  for (std::size_t i = 0; i < q.size(); ++i) dlog_q.push_back(i == y ? -p[y] : -other_p * q[i] / other_q);
  loss.dz = log_softmax_backward(log_softmax(z, temperature), dlog_q, temperature);
  const Vector p_hat = log_softmax(without(v, y), temperature), q_hat = log_softmax(without(z, y), temperature);
  Vector dlog_q_hat;
  Loss others;
  for (std::size_t i = 0; i < p_hat.size(); ++i) {
    others.value += std::exp(p_hat[i]) * (p_hat[i] - q_hat[i]);
    dlog_q_hat.push_back(-std::exp(p_hat[i]));
  }
  others.dz = non_target_backward(q_hat, dlog_q_hat, temperature, y);
  Loss total;
  add(total, loss, temperature * temperature);
  add(total, others, temperature * temperature * weight_of_others);
  return total;
}

Loss nkd(const Vector& z, const Vector& v, double temperature, double weight_of_others, std::size_t y) {
  const Vector log_s = log_softmax(z, 1);
  const double sure = std::exp(log_softmax(v, 1)[y]);
  Vector dlog_s(z.size(), 0);
  dlog_s[y] = -sure;
  Loss loss{-sure * log_s[y], log_softmax_backward(log_s, dlog_s, 1)};
  if (z.size() == 1) return loss;
  const Vector p_hat = log_softmax(without(v, y), temperature), q_hat = log_softmax(without(z, y), temperature);
  Vector dlog_q_hat;
  Loss others;
  for (std::size_t i = 0; i < p_hat.size(); ++i) {
    others.value -= std::exp(p_hat[i]) * q_hat[i];
    dlog_q_hat.push_back(-std::exp(p_hat[i]));
  }
  others.dz = non_target_backward(q_hat, dlog_q_hat, temperature, y);
  add(loss, others, weight_of_others * temperature * temperature);
  return loss;
}

Loss row_loss(const DistillationSettings& settings, const Vector& z, const Vector& v, std::size_t y) {
  const double t = settings.temperature;
  Loss loss;
  switch (settings.loss) {
    case SoftLoss::mse: return mse(z, v);
    case SoftLoss::dkd: return dkd(z, v, t, constant_of(settings), y);
    case SoftLoss::nkd: return nkd(z, v, t, constant_of(settings), y);
    case SoftLoss::ttm: return divergence(log_softmax(v, t), log_softmax(z, 1), 1);
    case SoftLoss::wttm: {
      double weight = 0;
      for (const double p : exp(log_softmax(v, 1))) weight += std::pow(p, 1 / t);
      add(loss, divergence(log_softmax(v, t), log_softmax(z, 1), 1), weight);
      return loss;
    }
    default: break;
  }
  const Vector log_p = log_softmax(v, t);
  loss = divergence(log_p, log_softmax(z, t), t);
  if (settings.convention == Convention::additive) {
    for (const double a : log_p) loss.value -= std::exp(a) * a;
    return loss;
  }
  Loss scaled;
  add(scaled, loss, t * t);
  return scaled;
}

/// 1 - Pearson's correlation of a and b, and its derivative by b.
Loss decorrelation(const Vector& a, const Vector& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = sum(a) / n, mean_b = sum(b) / n;
  double aa = kPearsonFloor, bb = kPearsonFloor, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
    ab += (a[i] - mean_a) * (b[i] - mean_b);
  }
  const double r = ab / std::sqrt(aa * bb);
  Loss loss{1 - r, {}};
  for (std::size_t i = 0; i < a.size(); ++i)
    loss.dz.push_back(-(a[i] - mean_a) / std::sqrt(aa * bb) + r * (b[i] - mean_b) / bb);
  return loss;
}

/// Element i of row or column `at` of [rows, classes].
Vector line(const Vector& x, Rows rows, std::int64_t at, bool column) {
  Vector result;
  for (std::int64_t i = 0; i < (column ? rows.rows : rows.classes); ++i)
    result.push_back(x[column ? i * rows.classes + at : at * rows.classes + i]);
  return result;
}

double dist(Rows rows, double temperature, double weight_of_classes, const Vector& z, const Vector& v, Vector& dz) {
  Vector p, q, dq(z.size(), 0);
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    for (const double value : exp(log_softmax(line(v, rows, row, false), temperature))) p.push_back(value);
    for (const double value : exp(log_softmax(line(z, rows, row, false), temperature))) q.push_back(value);
  }
  double loss = 0;
  for (const bool column : {false, true}) {
    const std::int64_t lines = column ? rows.classes : rows.rows;
    const double share = (column ? weight_of_classes : 1) / static_cast<double>(lines);
    for (std::int64_t at = 0; at < lines; ++at) {
      const Loss part = decorrelation(line(p, rows, at, column), line(q, rows, at, column));
      loss += part.value * share;
      for (std::size_t i = 0; i < part.dz.size(); ++i) {
        const auto k = static_cast<std::int64_t>(i);
        dq[column ? k * rows.classes + at : at * rows.classes + k] += part.dz[i] * share;
      }
    }
  }
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    double inner = 0;
    for (std::int64_t i = row * rows.classes; i < (row + 1) * rows.classes; ++i) inner += q[i] * dq[i];
    for (std::int64_t i = row * rows.classes; i < (row + 1) * rows.classes; ++i)
      dz[i] = q[i] * (dq[i] - inner) / temperature;
  }
  return loss;
}

/// x <- (x - mean) / (std + floor)
Vector standardized(const Vector& x) {
  const auto n = static_cast<double>(x.size());
  const double mean = sum(x) / n;
  double square = 0;
  for (const double value : x) square += (value - mean) * (value - mean);
  Vector result;
  for (const double value : x) result.push_back((value - mean) / (std::sqrt(square / (n - 1)) + kStandardFloor));
  return result;
}

/// From d(loss)/d(standardised x) to d(loss)/dx.
Vector standardized_backward(const Vector& x, const Vector& gradient) {
  const auto n = static_cast<double>(x.size());
  const double mean = sum(x) / n, mean_gradient = sum(gradient) / n;
  double square = 0, along = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    square += (x[i] - mean) * (x[i] - mean);
    along += gradient[i] * (x[i] - mean);
  }
  const double deviation = std::sqrt(square / (n - 1)), k = deviation + kStandardFloor;
  Vector result;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double pulled = deviation > 0 ? (x[i] - mean) * along / (k * k * (n - 1) * deviation) : 0;
    result.push_back((gradient[i] - mean_gradient) / k - pulled);
  }
  return result;
}

}  // namespace

double soft_loss(Rows rows, const DistillationSettings& settings, const std::int64_t* labels, std::vector<double> z,
                 std::vector<double> v, std::vector<double>& dz) {
  const Vector raw = z;
  const auto each_row = [&](const auto& body) {
    for (std::int64_t row = 0; row < rows.rows; ++row) body(row, row * rows.classes);
  };
  const auto put = [](Vector& into, std::int64_t at, const Vector& values) {
    std::copy(values.begin(), values.end(), into.begin() + at);
  };
  if (settings.standardize)
    each_row([&](std::int64_t row, std::int64_t at) {
      put(z, at, standardized(line(z, rows, row, false)));
      put(v, at, standardized(line(v, rows, row, false)));
    });
  double loss = 0;
  if (settings.loss == SoftLoss::dist)
    loss = dist(rows, settings.temperature, constant_of(settings), z, v, dz);
  else
    each_row([&](std::int64_t row, std::int64_t at) {
      const Loss part = row_loss(settings, line(z, rows, row, false), line(v, rows, row, false),
                                 labels ? static_cast<std::size_t>(labels[row]) : 0);
      loss += part.value / static_cast<double>(rows.rows);
      Vector gradient = part.dz;
      for (double& value : gradient) value /= static_cast<double>(rows.rows);
      put(dz, at, gradient);
    });
  if (settings.standardize)
    each_row([&](std::int64_t row, std::int64_t at) {
      put(dz, at, standardized_backward(line(raw, rows, row, false), line(dz, rows, row, false)));
    });
  return loss;
}

}  // namespace retort::reference
