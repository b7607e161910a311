#include "kernels/cpu/loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/soft_loss.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/vector_loop-inl.h"

#include "kernels/cpu/exponential-inl.h"

#ifndef RETORT_KERNELS_CPU_LOSS_SHARED_
#define RETORT_KERNELS_CPU_LOSS_SHARED_
namespace retort::cpu {

/// Everything about the loss that is the same for all rows. A weight of 0 means: do not look.
struct LossTerms {
  double hard_weight = 1;
  double soft_weight = 0;
  double temperature = 1;
  Convention convention = Convention::convex;
};

struct RowLoss {
  double hard = 0, soft = 0;
};

}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// The logits of a row scaled: (x - max) / temperature, which is never above 0.
class ScaledLogits {
 public:
  ScaledLogits(const float* x, std::int64_t classes, double temperature)
      : x_(x), largest_(row_maximum(x, classes)), inverse_(1 / temperature) {}
  template <class Span>
  HWY_INLINE V64 operator()(Span span, std::int64_t i) const {
    return hn::Mul(hn::Sub(load_wide(span, x_ + i), hn::Set(F64(), largest_)), hn::Set(F64(), inverse_));
  }
  double operator[](std::int64_t i) const { return (x_[i] - largest_) * inverse_; }

 private:
  const float* x_;
  double largest_, inverse_;
};

/// -sum_i t_i log softmax(z)_i and log sum exp(z - max) in `log_sum`.
double hard_loss(const ScaledLogits& logits, std::int64_t classes, const HardTargets& targets, std::int64_t row,
                 double* log_sum) {
  auto sum = hn::Zero(F64()), logit_sum = hn::Zero(F64());
  vector_loop(F64(), 0, classes, [&](auto span, std::int64_t i) HWY_ATTR {
    const V64 logit = logits(span, i);
    sum = hn::Add(sum, or_beyond(span, exponential(logit), 0));
    logit_sum = hn::Add(logit_sum, or_beyond(span, logit, 0));
  });
  *log_sum = std::log(total(sum));
  const double weight = targets.weight ? double{targets.weight[row]} : 1;
  double loss = -weight * (logits[targets.labels[row]] - *log_sum);
  if (targets.labels2) loss -= (1 - weight) * (logits[targets.labels2[row]] - *log_sum);
  if (targets.smoothing == 0) return loss;
  const double uniform = *log_sum - total(logit_sum) / static_cast<double>(classes);
  return (1 - targets.smoothing) * loss + targets.smoothing * uniform;
}

/// What the soft term's gradient needs from its loss.
struct SoftSums {
  double log_p, log_q;  ///< log sum exp of teacher and student
};

/// CE(p, q), or T^2 KL(p || q) under convex. Both from logarithms: log p - log q is a difference of scaled logits,
/// exact enough where the quotient of two tiny probabilities is not.
double soft_loss(const ScaledLogits& student, const ScaledLogits& teacher, std::int64_t classes, const LossTerms& terms,
                 SoftSums* sums) {
  const bool convex = terms.convention == Convention::convex;
  auto sum_q = hn::Zero(F64()), sum_p = hn::Zero(F64()), cross = hn::Zero(F64());
  vector_loop(F64(), 0, classes, [&](auto span, std::int64_t i) HWY_ATTR {
    const V64 a = teacher(span, i), b = student(span, i);
    const V64 weight = or_beyond(span, exponential(a), 0);
    sum_p = hn::Add(sum_p, weight);
    sum_q = hn::Add(sum_q, or_beyond(span, exponential(b), 0));
    cross = hn::MulAdd(weight, convex ? hn::Sub(a, b) : hn::Neg(b), cross);
  });
  const double p = total(sum_p), expected = total(cross) / p;
  *sums = {std::log(p), std::log(total(sum_q))};
  if (convex) return terms.temperature * terms.temperature * (expected - sums->log_p + sums->log_q);
  return expected + sums->log_q;
}

/// The loss of one row; dz, if wanted, receives its gradient times `scale`.
RowLoss loss_row(std::int64_t classes, const LossTerms& terms, const HardTargets& targets, std::int64_t row,
                 double scale, const float* z, const float* v, float* dz) {
  const bool hard = terms.hard_weight != 0, soft = terms.soft_weight != 0;
  const double temperature = terms.temperature;
  RowLoss loss;
  double log_sum = 0;
  SoftSums sums{};
  const ScaledLogits prediction(z, classes, 1), student(z, classes, temperature);
  const ScaledLogits teacher(soft ? v : z, classes, temperature);
  if (hard) loss.hard = hard_loss(prediction, classes, targets, row, &log_sum);
  if (soft) loss.soft = soft_loss(student, teacher, classes, terms, &sums);
  if (!dz) return loss;

  const double hard_scale = terms.hard_weight * scale;
  const double soft_scale =
      terms.soft_weight * (terms.convention == Convention::convex ? temperature : 1 / temperature) * scale;
  const double smooth = targets.smoothing / static_cast<double>(classes);
  const auto write = [&](std::int64_t begin, std::int64_t end, bool labelled) HWY_ATTR {
    vector_loop(F64(), begin, end, [&](auto span, std::int64_t i) HWY_ATTR {
      auto gradient = hn::Zero(F64());
      if (hard) {
        V64 target = hn::Set(F64(), smooth);
        if (labelled) {
          const double weight = targets.weight ? double{targets.weight[row]} : 1;
          double onehot = targets.labels[row] == i ? weight : 0;
          if (targets.labels2 && targets.labels2[row] == i) onehot += 1 - weight;
          target = hn::Set(F64(), (1 - targets.smoothing) * onehot + smooth);
        }
        const V64 predicted = exponential(hn::Sub(prediction(span, i), hn::Set(F64(), log_sum)));
        gradient = hn::Mul(hn::Set(F64(), hard_scale), hn::Sub(predicted, target));
      }
      if (soft) {
        const V64 q = exponential(hn::Sub(student(span, i), hn::Set(F64(), sums.log_q)));
        const V64 p = exponential(hn::Sub(teacher(span, i), hn::Set(F64(), sums.log_p)));
        gradient = hn::MulAdd(hn::Set(F64(), soft_scale), hn::Sub(q, p), gradient);
      }
      store_narrow(span, gradient, dz + i);
    });
  };
  write(0, classes, false);
  // The one or two classes that carry a label are written again, alone.
  if (hard) write(targets.labels[row], targets.labels[row] + 1, true);
  if (hard && targets.labels2) write(targets.labels2[row], targets.labels2[row] + 1, true);
  return loss;
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

/// Means of both terms over the rows. Rows are summed in a fixed number of blocks, whatever the number of threads.
RowLoss mean_loss(Rows rows, const LossTerms& terms, const HardTargets& targets, const void* z_, const void* v_,
                  void* dz_) {
  constexpr std::int64_t kBlocks = 64;
  const auto row_kernel = RETORT_SIMD_SELECT(loss_row);
  const float* z = static_cast<const float*>(z_);
  const float* v = static_cast<const float*>(v_);
  float* dz = static_cast<float*>(dz_);
  const double scale = 1 / static_cast<double>(rows.rows);
  const std::int64_t blocks =
      std::clamp<std::int64_t>(rows.rows * rows.classes / 1024, 1, std::min(kBlocks, rows.rows));
  RowLoss partial[kBlocks];
  parallel_tasks(blocks, [&](std::int64_t block, int) {
    for (std::int64_t row = rows.rows * block / blocks; row < rows.rows * (block + 1) / blocks; ++row) {
      const std::int64_t at = row * rows.classes;
      const RowLoss loss =
          row_kernel(rows.classes, terms, targets, row, scale, z + at, v ? v + at : nullptr, dz ? dz + at : nullptr);
      partial[block].hard += loss.hard;
      partial[block].soft += loss.soft;
    }
  });
  RowLoss mean;
  for (std::int64_t block = 0; block < blocks; ++block) {
    mean.hard += partial[block].hard * scale;
    mean.soft += partial[block].soft * scale;
  }
  return mean;
}

}  // namespace

std::size_t loss_workspace_bytes(Rows rows) { return soft_loss_workspace_bytes(rows); }

void cross_entropy(Stream, Rows rows, const HardTargets& targets, const void* z, void* loss, void* dz, void*) {
  *static_cast<float*>(loss) = static_cast<float>(mean_loss(rows, {}, targets, z, nullptr, dz).hard);
}

void distillation(Stream, Rows rows, const DistillationSettings& given, const HardTargets& targets, const void* z,
                  const void* v, void* loss, void* dz, void* workspace) {
  const DistillationSettings settings = given.now();
  const double soft_weight = weight_of_soft(settings);
  const bool plain = is_plain_kd(settings);
  const LossTerms terms = {.hard_weight = settings.lambda,
                           .soft_weight = plain ? soft_weight : 0,
                           .temperature = settings.temperature,
                           .convention = settings.convention};
  RowLoss mean = mean_loss(rows, terms, targets, z, v, dz);
  if (!plain && soft_weight != 0)
    mean.soft = add_soft_loss(rows, settings, targets.labels, static_cast<const float*>(z),
                              static_cast<const float*>(v), static_cast<float*>(dz), static_cast<double*>(workspace));
  float* parts = static_cast<float*>(loss);
  parts[0] = static_cast<float>(settings.lambda * mean.hard + soft_weight * mean.soft);
  parts[1] = static_cast<float>(mean.hard);
  parts[2] = static_cast<float>(mean.soft);
}

}  // namespace retort::cpu
#endif
