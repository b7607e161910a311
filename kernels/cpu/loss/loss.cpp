// Cross-entropy and the fused distillation loss (contract: kernels/loss.h): vectors of floats inside, sums of rows and
// logarithms in double (docs/numerics.md). A row is read from memory once; the passes after the first find it in L1.
//
// A row of bf16 becomes floats as it is read, and its gradient bf16 as it is written; DIST alone, which looks along the
// batch too, has the whole batch converted.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss/loss.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

#include "kernels/cpu/loss/soft_terms-inl.h"

#ifndef RETORT_KERNELS_CPU_LOSS_SHARED_
#define RETORT_KERNELS_CPU_LOSS_SHARED_
namespace retort::cpu {
namespace {

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

/// -sum_i t_i log softmax(z)_i from z - max: `logit(i)`, its exponentials' logarithm and, for smoothing, its sum.
template <class Logit>
double hard_loss(const Logit& logit, double log_sum, double logit_sum, std::int64_t classes, const HardTargets& targets,
                 std::int64_t row) {
  const double weight = targets.weight ? double{targets.weight[row]} : 1;
  double loss = -weight * (logit(targets.labels[row]) - log_sum);
  if (targets.labels2) loss -= (1 - weight) * (logit(targets.labels2[row]) - log_sum);
  if (targets.smoothing == 0) return loss;
  const double uniform = log_sum - logit_sum / static_cast<double>(classes);
  return (1 - targets.smoothing) * loss + targets.smoothing * uniform;
}

// What follows, in double, is compiled apart from the vectors and never inlined there: the compiler would fuse products
// and sums where an instruction set can, and the bits would differ.

/// Rows of so few classes are computed in double, which costs little there: with two or ten classes a confident net's
/// loss and gradient are often the small differences of numbers near 1.
constexpr std::int64_t kFewClasses = 32;

/// The same as loss_of_row.
RowLoss loss_of_few(std::int64_t classes, const LossTerms& terms, const HardTargets& targets, std::int64_t row,
                    double scale, const float* z, const float* v, float* dz) {
  const bool hard = terms.hard_weight != 0, soft = terms.soft_weight != 0;
  const double temperature = terms.temperature;
  const bool convex = terms.convention == Convention::convex;
  const double top_z = *std::max_element(z, z + classes), top_v = soft ? *std::max_element(v, v + classes) : 0;
  double e[kFewClasses], q[kFewClasses], p[kFewClasses];
  double total_e = 0, logit_sum = 0, total_q = 0, total_p = 0, cross = 0;
  for (std::int64_t i = 0; i < classes; ++i) {
    const double a = z[i] - top_z;
    total_e += e[i] = std::exp(a);
    logit_sum += a;
    if (!soft) continue;
    const double b = v[i] - top_v;
    total_q += q[i] = std::exp(a / temperature);
    total_p += p[i] = std::exp(b / temperature);
    cross += p[i] * ((convex ? b : 0) - a) / temperature;
  }

  RowLoss loss;
  if (hard)
    loss.hard =
        hard_loss([&](std::int64_t i) { return z[i] - top_z; }, std::log(total_e), logit_sum, classes, targets, row);
  if (soft) {
    cross /= total_p;
    loss.soft = convex ? temperature * temperature * (cross + std::log(total_q / total_p)) : cross + std::log(total_q);
  }
  if (!dz) return loss;

  const double weight = targets.weight ? double{targets.weight[row]} : 1;
  const double soft_scale = terms.soft_weight * (convex ? temperature : 1 / temperature);
  for (std::int64_t i = 0; i < classes; ++i) {
    double gradient = 0;
    if (hard) {
      double target = targets.labels[row] == i ? weight : 0;
      if (targets.labels2 && targets.labels2[row] == i) target += 1 - weight;
      target = (1 - targets.smoothing) * target + targets.smoothing / static_cast<double>(classes);
      gradient = terms.hard_weight * (e[i] / total_e - target);
    }
    if (soft) gradient += soft_scale * (q[i] / total_q - p[i] / total_p);
    dz[i] = static_cast<float>(scale * gradient);
  }
  return loss;
}

/// What a thread keeps of a row between its passes, and the row itself with its gradient where it is not of floats; 4
/// KiB lie between two threads', whose prefetchers run ahead.
template <class T>
std::int64_t kept_floats(std::int64_t classes) {
  const std::int64_t rows = std::is_same_v<T, float> ? 3 : 6;
  return (rows * classes + 15) / 16 * 16 + 1024;
}

/// The kernels of an instruction set for one row.
template <class T>
struct RowKernels {
  /// Converts `count` elements, and asks memory for as many behind them: the next row.
  void (*widen)(std::int64_t count, const T* from, float* to);
  void (*narrow)(std::int64_t count, const float* from, T* to);
  /// loss_of_row, whichever its terms.
  RowLoss (*terms)(std::int64_t classes, const LossTerms&, const HardTargets&, std::int64_t row, double scale,
                   const float* z, const float* v, float* dz, float* kept);
  /// add_soft_row.
  double (*soft)(Rows, const DistillationSettings&, const std::int64_t* label, const float* z, const float* v,
                 float* dz, float* kept);
};

/// A thread's view of one row after the other in floats: the batch's own memory, or converted into `room` for three
/// rows. Null stays null.
template <class T>
class FloatRow {
 public:
  FloatRow(const RowKernels<T>& kernels, std::int64_t classes, float* room)
      : kernels_(kernels), classes_(classes), z_(room), v_(room + classes), dz_(room + 2 * classes) {}

  const float* z(const T* row) { return widened(row, z_); }
  const float* v(const T* row) { return widened(row, v_); }
  /// Where the gradient is computed; write_dz brings it to the batch.
  float* dz(T* row) {
    if constexpr (std::is_same_v<T, float>)
      return row;
    else
      return row ? dz_ : nullptr;
  }
  void write_dz(T* row) {
    if constexpr (!std::is_same_v<T, float>)
      if (row) kernels_.narrow(classes_, dz_, row);
  }

 private:
  const float* widened(const T* row, float* to) {
    if constexpr (std::is_same_v<T, float>) {
      return row;
    } else {
      if (!row) return nullptr;
      kernels_.widen(classes_, row, to);
      return to;
    }
  }

  const RowKernels<T>& kernels_;
  std::int64_t classes_;
  float *z_, *v_, *dz_;
};

/// Means of both terms over the rows. The soft term is that of `other`, or plain KD's where `other` is null. Rows are
/// summed in a fixed number of blocks, whatever the number of threads. `workspace`: kept_floats for each thread.
template <class T>
HWY_NOINLINE RowLoss mean_loss(const RowKernels<T>& kernels, Rows rows, const LossTerms& terms,
                               const DistillationSettings* other, const HardTargets& targets, const T* z, const T* v,
                               T* dz, float* workspace) {
  constexpr std::int64_t kBlocks = 64;
  const double scale = 1 / static_cast<double>(rows.rows);
  const std::int64_t blocks =
      std::clamp<std::int64_t>(rows.rows * rows.classes / 1024, 1, std::min(kBlocks, rows.rows));
  RowLoss partial[kBlocks];
  parallel_tasks(blocks, [&](std::int64_t block, int thread) {
    float* const kept = workspace + thread * kept_floats<T>(rows.classes);
    FloatRow<T> in_floats(kernels, rows.classes, kept + 3 * rows.classes);
    const std::int64_t begin = rows.rows * block / blocks, end = rows.rows * (block + 1) / blocks;
    RowLoss sum;  // not in partial[]: two threads' blocks share a cache line there
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * rows.classes;
      const float* const of_z = in_floats.z(z + at);
      const float* const of_v = in_floats.v(v ? v + at : nullptr);
      float* const of_dz = in_floats.dz(dz ? dz + at : nullptr);
      const RowLoss loss = rows.classes <= kFewClasses
                               ? loss_of_few(rows.classes, terms, targets, row, scale, of_z, of_v, of_dz)
                               : kernels.terms(rows.classes, terms, targets, row, scale, of_z, of_v, of_dz, kept);
      sum.hard += loss.hard;
      sum.soft += loss.soft;
      if (other) {
        const std::int64_t* const label = targets.labels ? targets.labels + row : nullptr;
        sum.soft += kernels.soft(rows, *other, label, of_z, of_v, of_dz, kept);
      }
      in_floats.write_dz(dz ? dz + at : nullptr);
    }
    partial[block] = sum;
  });
  RowLoss mean;
  for (std::int64_t block = 0; block < blocks; ++block) {
    mean.hard += partial[block].hard * scale;
    mean.soft += partial[block].soft * scale;
  }
  return mean;
}

HWY_NOINLINE float total_loss(double hard_weight, double hard, double soft_weight, double soft) {
  return static_cast<float>(hard_weight * hard + soft_weight * soft);
}

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// The loss of one row of many classes; dz, if wanted, receives its gradient times `scale`. An exponential costs more
/// than all else that is done to a logit, so each is computed once: those of z wait in dz, those of z / T and v / T in
/// `kept`, 2 * classes floats.
template <bool kHard, bool kSoft>
RowLoss loss_of_row(std::int64_t classes, const LossTerms& terms, const HardTargets& targets, std::int64_t row,
                    double scale, const float* z, const float* v, float* dz, float* kept) {
  const F32 d;
  const double temperature = terms.temperature;
  const bool convex = terms.convention == Convention::convex;
  const Exponential exponential(1), exponential_t(temperature);
  const float top_z = row_maximum(z, classes), top_v = kSoft ? row_maximum(v, classes) : 0;
  [[maybe_unused]] float *const q = kept, *const p = kept + classes;

  Sum sum_e, sum_logit, sum_q, sum_p, sum_cross;
  vector_loop(d, 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    // Fetches the next row from memory while this one is computed.
    hwy::Prefetch(z + classes + i);
    if (v) hwy::Prefetch(v + classes + i);
    if (dz) hwy::Prefetch(dz + classes + i);
    const V32 a = hn::Sub(lanes.load(d, z + i), hn::Set(d, top_z));
    if constexpr (kHard) {
      const V32 e = exponential(a);
      sum_e.add(lanes, e);
      if (targets.smoothing != 0) sum_logit.add(lanes, a);
      if (dz) lanes.store(d, e, dz + i);
    }
    if constexpr (kSoft) {
      const V32 b = hn::Sub(lanes.load(d, v + i), hn::Set(d, top_v));
      const V32 student = exponential_t(a), teacher = exponential_t(b);
      sum_q.add(lanes, student);
      sum_p.add(lanes, teacher);
      // T (log p - log q) but for the sums: a difference of logits is exact enough where the quotient of two tiny
      // probabilities is not.
      sum_cross.add_product(lanes, teacher, convex ? hn::Sub(b, a) : hn::Neg(a));
      if (dz) lanes.store(d, student, q + i);
      if (dz) lanes.store(d, teacher, p + i);
    }
  });

  RowLoss loss;
  const double total_e = sum_e.in_double(), total_q = sum_q.in_double(), total_p = sum_p.in_double();
  if constexpr (kHard)
    loss.hard = hard_loss([&](std::int64_t i) { return double{z[i]} - top_z; }, std::log(total_e),
                          sum_logit.in_double(), classes, targets, row);
  if constexpr (kSoft) {
    const double cross = sum_cross.in_double() / (total_p * temperature);
    loss.soft = convex ? temperature * temperature * (cross + std::log(total_q / total_p)) : cross + std::log(total_q);
  }
  if (!dz) return loss;

  const double hard_scale = terms.hard_weight * scale;
  const double soft_scale = terms.soft_weight * (convex ? temperature : 1 / temperature) * scale;
  const V32 e_scale = hn::Set(d, static_cast<float>(hard_scale / total_e));
  const V32 q_scale = hn::Set(d, static_cast<float>(soft_scale / total_q));
  const V32 p_for_q = hn::Set(d, static_cast<float>(total_q / total_p));
  const V32 uniform = hn::Set(d, static_cast<float>(-hard_scale * targets.smoothing / static_cast<double>(classes)));
  vector_loop(d, 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    V32 gradient = hn::Zero(d);
    if constexpr (kHard) gradient = hn::MulAdd(lanes.load(d, dz + i), e_scale, uniform);
    // The difference first, rounded once: a good student's is small. It is 0 where the nets agree.
    if constexpr (kSoft)
      gradient = hn::MulAdd(hn::NegMulAdd(p_for_q, lanes.load(d, p + i), lanes.load(d, q + i)), q_scale, gradient);
    lanes.store(d, gradient, dz + i);
  });
  if constexpr (kHard) {
    const double weight = targets.weight ? double{targets.weight[row]} : 1;
    const double target_scale = hard_scale * (1 - targets.smoothing);
    dz[targets.labels[row]] -= static_cast<float>(target_scale * weight);
    if (targets.labels2) dz[targets.labels2[row]] -= static_cast<float>(target_scale * (1 - weight));
  }
  return loss;
}

RowLoss loss_row(std::int64_t classes, const LossTerms& terms, const HardTargets& targets, std::int64_t row,
                 double scale, const float* z, const float* v, float* dz, float* kept) {
  const bool hard = terms.hard_weight != 0, soft = terms.soft_weight != 0;
  const auto of_terms = hard && soft ? loss_of_row<true, true>
                        : hard       ? loss_of_row<true, false>
                        : soft       ? loss_of_row<false, true>
                                     : loss_of_row<false, false>;
  return of_terms(classes, terms, targets, row, scale, z, v, dz, kept);
}

template <class From, class To>
void convert_row(std::int64_t count, const From* from, To* to) {
  constexpr std::int64_t kLine = 64 / sizeof(From);
  for (std::int64_t ahead = 0; ahead < count; ahead += kLine) hwy::Prefetch(from + count + ahead);
  copy_elements(0, count, from, to);
}

template <class T>
constexpr RowKernels<T> kRowKernels = {
    .widen = convert_row<T, float>, .narrow = convert_row<float, T>, .terms = loss_row, .soft = add_soft_row};

// ------------------------------------------------------------------------------------------------- entries

template <class T>
void cross_entropy(Stream, Rows rows, const HardTargets& targets, const T* z, float* loss, T* dz, void* workspace) {
  const T* const no_teacher = nullptr;
  const RowLoss mean =
      mean_loss(kRowKernels<T>, rows, {}, nullptr, targets, z, no_teacher, dz, static_cast<float*>(workspace));
  *loss = static_cast<float>(mean.hard);
}

/// What all threads keep of their rows, and DIST of the batch.
template <class T>
std::size_t rows_workspace_bytes(Rows rows) {
  return std::max(static_cast<std::size_t>(num_threads() * kept_floats<T>(rows.classes)) * sizeof(float),
                  dist_loss_workspace_bytes(rows));
}

bool looks_along_batch(const DistillationSettings& settings) {
  return settings.loss == SoftLoss::dist && weight_of_soft(settings) != 0;
}

/// `settings` hold now. DIST takes floats alone.
template <class T>
void distillation_of(Rows rows, const DistillationSettings& settings, const HardTargets& targets, const T* z,
                     const T* v, float* loss, T* dz, float* workspace) {
  const double soft_weight = weight_of_soft(settings);
  const bool plain = is_plain_kd(settings);
  const LossTerms terms = {.hard_weight = settings.lambda,
                           .soft_weight = plain ? soft_weight : 0,
                           .temperature = settings.temperature,
                           .convention = settings.convention};
  const bool other = !plain && !looks_along_batch(settings) && soft_weight != 0;
  RowLoss mean = mean_loss(kRowKernels<T>, rows, terms, other ? &settings : nullptr, targets, z, v, dz, workspace);
  if constexpr (std::is_same_v<T, float>)
    if (looks_along_batch(settings)) mean.soft = add_dist_loss(rows, settings, z, v, dz, workspace);
  loss[0] = total_loss(settings.lambda, mean.hard, soft_weight, mean.soft);
  loss[1] = static_cast<float>(mean.hard);
  loss[2] = static_cast<float>(mean.soft);
}

template <class From, class To>
void convert(std::int64_t count, const From* from, To* to) {
  constexpr std::int64_t kGrain = 16384;
  parallel_for(count, kGrain, [=](std::int64_t begin, std::int64_t end) { copy_elements(begin, end, from, to); });
}

/// Where DIST is asked for and T is not float, the batch's z, v and dz in float lie behind what the rows want of the
/// workspace.
template <class T>
void distillation(Stream, Rows rows, const DistillationSettings& given, const HardTargets& targets, const T* z,
                  const T* v, float* loss, T* dz, void* workspace) {
  const DistillationSettings settings = given.now();
  auto* const kept = static_cast<float*>(workspace);
  if (std::is_same_v<T, float> || !looks_along_batch(settings))
    return distillation_of(rows, settings, targets, z, v, loss, dz, kept);
  const std::int64_t count = rows.rows * rows.classes;
  float* const of_z = kept + rows_workspace_bytes<T>(rows) / sizeof(float);
  float *const of_v = of_z + count, *const of_dz = dz ? of_v + count : nullptr;
  convert(count, z, of_z);
  convert(count, v, of_v);
  distillation_of(rows, settings, targets, of_z, of_v, loss, of_dz, kept);
  if (dz) convert(count, of_dz, dz);
}

template <class T>
std::size_t workspace_bytes(Rows rows) {
  const std::size_t batch = std::is_same_v<T, float> ? 0 : static_cast<std::size_t>(3 * rows.rows * rows.classes);
  return rows_workspace_bytes<T>(rows) + batch * sizeof(float);
}

}  // namespace

template <class T>
LossKernels loss() {
  return {.workspace_bytes = workspace_bytes<T>,
          .cross_entropy = entry<cross_entropy<T>>,
          .distillation = entry<distillation<T>>};
}

template LossKernels loss<float>();
template LossKernels loss<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
