// The oracle's cross-entropy and distillation loss (contract: kernels/loss.h), through log-softmax in double.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/entry.h"
#include "kernels/reference/soft_loss.h"

namespace retort::reference {
namespace {

/// log softmax(x / temperature), element by element.
template <class T>
class LogSoftmax {
 public:
  LogSoftmax(const T* x, std::int64_t classes, double temperature) : x_(x), temperature_(temperature) {
    largest_ = *std::max_element(x, x + classes);
    double sum = 0;
    for (std::int64_t i = 0; i < classes; ++i) sum += std::exp((x[i] - largest_) / temperature);
    log_sum_ = std::log(sum);
  }
  double operator()(std::int64_t i) const { return (x_[i] - largest_) / temperature_ - log_sum_; }

 private:
  const T* x_;
  double temperature_, largest_, log_sum_;
};

/// t_i of a row, mixup and smoothing included.
double hard_target(const HardTargets& targets, std::int64_t row, std::int64_t i, std::int64_t classes) {
  const double weight = targets.weight ? double{targets.weight[row]} : 1;
  double t = targets.labels[row] == i ? weight : 0;
  if (targets.labels2 && targets.labels2[row] == i) t += 1 - weight;
  return (1 - targets.smoothing) * t + targets.smoothing / static_cast<double>(classes);
}

template <class T>
std::vector<double> widen(const T* values, std::size_t n) {
  return {values, values + n};
}

std::size_t workspace_bytes(Rows) { return 0; }

template <class T>
void cross_entropy(Stream, Rows rows, const HardTargets& targets, const T* z, T* loss, T* dz, void*) {
  double total = 0;
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const LogSoftmax<T> log_q(z + row * rows.classes, rows.classes, 1);
    for (std::int64_t i = 0; i < rows.classes; ++i) {
      const double t = hard_target(targets, row, i, rows.classes);
      if (t != 0) total -= t * log_q(i);
      if (dz) dz[row * rows.classes + i] = static_cast<T>((std::exp(log_q(i)) - t) / static_cast<double>(rows.rows));
    }
  }
  *loss = static_cast<T>(total / static_cast<double>(rows.rows));
}

template <class T>
void distillation(Stream, Rows rows, const DistillationSettings& given, const HardTargets& targets, const T* z,
                  const T* v, T* loss, T* dz, void*) {
  const DistillationSettings settings = given.now();
  const double temperature = settings.temperature, lambda = settings.lambda;
  const bool convex = settings.convention == Convention::convex;
  const double soft_weight = weight_of_soft(settings);
  const bool plain = is_plain_kd(settings);
  double hard = 0, soft = 0;
  std::vector<double> other(!plain && soft_weight != 0 ? rows.rows * rows.classes : 0);
  if (!other.empty())
    soft = soft_loss(rows, settings, targets.labels, widen(z, other.size()), widen(v, other.size()), other) *
           static_cast<double>(rows.rows);
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const std::int64_t first = row * rows.classes;
    const LogSoftmax<T> log_prediction(z + first, rows.classes, 1);
    const LogSoftmax<T> log_q(z + first, rows.classes, temperature);
    // A soft term without weight must not look at the teacher; any row stands in.
    const LogSoftmax<T> log_p((plain && soft_weight != 0 ? v : z) + first, rows.classes, temperature);
    for (std::int64_t i = 0; i < rows.classes; ++i) {
      double gradient = 0;
      if (lambda != 0) {
        const double t = hard_target(targets, row, i, rows.classes);
        if (t != 0) hard -= t * log_prediction(i);
        gradient += lambda * (std::exp(log_prediction(i)) - t);
      }
      if (!other.empty()) gradient += soft_weight * other[first + i] * static_cast<double>(rows.rows);
      if (plain && soft_weight != 0) {
        const double p = std::exp(log_p(i)), q = std::exp(log_q(i));
        if (convex) {
          soft += temperature * temperature * p * (log_p(i) - log_q(i));
          gradient += soft_weight * temperature * (q - p);
        } else {
          soft -= p * log_q(i);
          gradient += soft_weight * (q - p) / temperature;
        }
      }
      if (dz) dz[first + i] = static_cast<T>(gradient / static_cast<double>(rows.rows));
    }
  }
  hard /= static_cast<double>(rows.rows);
  soft /= static_cast<double>(rows.rows);
  loss[0] = static_cast<T>(lambda * hard + soft_weight * soft);
  loss[1] = static_cast<T>(hard);
  loss[2] = static_cast<T>(soft);
}

}  // namespace

template <class T>
LossKernels loss() {
  return {.workspace_bytes = workspace_bytes,
          .cross_entropy = entry<cross_entropy<T>>,
          .distillation = entry<distillation<T>>};
}
template LossKernels loss<float>();
template LossKernels loss<double>();

}  // namespace retort::reference
