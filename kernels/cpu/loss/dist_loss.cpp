// DIST, the soft term that looks along the batch too (formula: kernels/loss.h): both nets' probabilities, then the
// correlations of classes over the batch, then those of rows with the gradient.
#include <algorithm>
#include <cmath>

#include "kernels/loss.h"

#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss/dist_loss.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#include "kernels/cpu/simd/exponential-inl.h"

#include "kernels/cpu/loss/soft_row-inl.h"
#include "kernels/cpu/loss/soft_terms-inl.h"

#ifndef RETORT_KERNELS_CPU_DIST_LOSS_SHARED_
#define RETORT_KERNELS_CPU_DIST_LOSS_SHARED_
namespace retort::cpu {
namespace {

/// A call's arguments and its workspace.
struct DistBatch {
  Rows rows;
  DistillationSettings settings;
  const float *z, *v;
  float* dz;                                                                        ///< may be null
  double* sums;                                                                     ///< [5, classes]
  float *mean_q = nullptr, *mean_p = nullptr, *across = nullptr, *along = nullptr;  ///< [classes]
  float *q = nullptr, *p = nullptr;  ///< [rows, classes]: softmax(z / T), softmax(v / T)
};

/// Pearson's correlation of two vectors from their centred products.
struct Correlation {
  double r, across, along;  ///< dr/db_i = across * a_i - along * b_i, a and b centred
  Correlation(double aa, double ab, double bb) {
    const double norm = std::sqrt((aa + kPearsonFloor) * (bb + kPearsonFloor));
    r = ab / norm;
    across = 1 / norm;
    along = r / (bb + kPearsonFloor);
  }
};

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

void soften_row(const float* x, std::int64_t classes, double temperature, float* y) {
  const F32 d;
  const Exponential exponential(temperature);
  const V32 top = hn::Set(d, row_maximum(x, classes));
  Sum sum;
  vector_loop(d, 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const V32 e = exponential(hn::Sub(lanes.load(d, x + i), top));
    sum.add(lanes, e);
    lanes.store(d, e, y + i);
  });
  const V32 share = hn::Set(d, static_cast<float>(1 / sum.in_double()));
  vector_loop(d, 0, classes, [&](auto lanes, std::int64_t i) HWY_ATTR {
    lanes.store(d, hn::Mul(lanes.load(d, y + i), share), y + i);
  });
}

SoftRow row_of(const DistBatch& batch, std::int64_t row) {
  SoftRow result = soft_row(batch.rows, batch.settings, nullptr, row, batch.z, batch.v, batch.dz, nullptr);
  result.q = batch.q + row * batch.rows.classes;
  result.p = batch.p + row * batch.rows.classes;
  return result;
}

void dist_soften(const DistBatch& batch, std::int64_t begin, std::int64_t end) {
  const double t = batch.settings.temperature;
  for (std::int64_t i = begin; i < end; ++i) {
    const SoftRow row = row_of(batch, i);
    soften_row(row.z, row.classes, row.student_temperature(t), row.q);
    soften_row(row.v, row.classes, row.teacher_temperature(t), row.p);
  }
}

/// The correlations of classes [begin, end) over the batch; 1 - r of each goes to the first row of batch.sums.
void dist_columns(const DistBatch& batch, std::int64_t begin, std::int64_t end) {
  const auto n = static_cast<double>(batch.rows.rows);
  const std::int64_t classes = batch.rows.classes;
  double *const b = batch.sums, *const a = b + classes, *const bb = a + classes, *const ab = bb + classes,
                *const aa = ab + classes;
  for (double* sum : {b, a, bb, ab, aa}) std::fill(sum + begin, sum + end, 0.0);
  // One pass over the batch: products about the first row, from which those about the mean follow. In double the
  // difference keeps its digits, and a column that is constant gives 0.
  constexpr std::int64_t kStrip = 8;  // rows over which the sums stay in registers
  const F64 d;
  for (std::int64_t row = 0; row < batch.rows.rows; row += kStrip)
    vector_loop(d, begin, end, [&](auto lanes, std::int64_t j) HWY_ATTR {
      const V64 first_q = load_wide(lanes, batch.q + j), first_p = load_wide(lanes, batch.p + j);
      V64 sum_b = lanes.load(d, b + j), sum_a = lanes.load(d, a + j), sum_bb = lanes.load(d, bb + j);
      V64 sum_ab = lanes.load(d, ab + j), sum_aa = lanes.load(d, aa + j);
      for (std::int64_t i = row; i < std::min(row + kStrip, batch.rows.rows); ++i) {
        const V64 y = hn::Sub(load_wide(lanes, batch.q + i * classes + j), first_q);
        const V64 x = hn::Sub(load_wide(lanes, batch.p + i * classes + j), first_p);
        sum_b = hn::Add(sum_b, y);
        sum_a = hn::Add(sum_a, x);
        sum_bb = hn::MulAdd(y, y, sum_bb);
        sum_ab = hn::MulAdd(x, y, sum_ab);
        sum_aa = hn::MulAdd(x, x, sum_aa);
      }
      lanes.store(d, sum_b, b + j);
      lanes.store(d, sum_a, a + j);
      lanes.store(d, sum_bb, bb + j);
      lanes.store(d, sum_ab, ab + j);
      lanes.store(d, sum_aa, aa + j);
    });
  const double share = constant_of(batch.settings) / static_cast<double>(classes);
  for (std::int64_t j = begin; j < end; ++j) {
    const double mean_b = b[j] / n, mean_a = a[j] / n;
    const Correlation correlation(std::max(aa[j] - a[j] * mean_a, 0.0), ab[j] - a[j] * mean_b,
                                  std::max(bb[j] - b[j] * mean_b, 0.0));
    batch.mean_q[j] = static_cast<float>(batch.q[j] + mean_b);
    batch.mean_p[j] = static_cast<float>(batch.p[j] + mean_a);
    batch.across[j] = static_cast<float>(correlation.across * share);
    batch.along[j] = static_cast<float>(correlation.along * share);
    b[j] = 1 - correlation.r;
  }
}

/// The sum of 1 - r of rows [begin, end); their gradients, from rows and columns, are added to dz. p is overwritten.
double dist_rows(const DistBatch& batch, std::int64_t begin, std::int64_t end) {
  const F32 d;
  const auto n = static_cast<double>(batch.rows.rows);
  const std::int64_t classes = batch.rows.classes;
  // Probabilities add up to 1: their mean is 1 / classes.
  const V32 mean = hn::Set(d, 1 / static_cast<float>(classes));
  double loss = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    const SoftRow row = row_of(batch, i);
    Sum sum_aa, sum_ab, sum_bb, inner;
    vector_loop(d, 0, classes, [&](auto lanes, std::int64_t j) HWY_ATTR {
      const V32 y = hn::Sub(lanes.load(d, row.q + j), mean), x = hn::Sub(lanes.load(d, row.p + j), mean);
      sum_aa.add_product(lanes, x, x);
      sum_ab.add_product(lanes, x, y);
      sum_bb.add_product(lanes, y, y);
    });
    const Correlation correlation(sum_aa.in_double(), sum_ab.in_double(), sum_bb.in_double());
    loss += 1 - correlation.r;
    if (!row.dz) continue;
    // The caller takes the mean over the rows, so a column's share counts n times.
    const V32 across = hn::Set(d, static_cast<float>(correlation.across));
    const V32 along = hn::Set(d, static_cast<float>(correlation.along)), rows = hn::Set(d, static_cast<float>(n));
    vector_loop(d, 0, classes, [&](auto lanes, std::int64_t j) HWY_ATTR {
      const V32 q = lanes.load(d, row.q + j), p = lanes.load(d, row.p + j);
      const V32 of_row = hn::NegMulAdd(hn::Sub(p, mean), across, hn::Mul(hn::Sub(q, mean), along));
      const V32 x = hn::Sub(p, lanes.load(d, batch.mean_p + j)), y = hn::Sub(q, lanes.load(d, batch.mean_q + j));
      const V32 of_column =
          hn::NegMulAdd(x, lanes.load(d, batch.across + j), hn::Mul(y, lanes.load(d, batch.along + j)));
      const V32 g = hn::MulAdd(of_column, rows, of_row);
      inner.add_product(lanes, q, g);
      lanes.store(d, g, row.p + j);
    });
    const V32 mean_g = hn::Set(d, static_cast<float>(inner.in_double()));
    const V32 by_t = hn::Set(d, static_cast<float>(1 / row.temperature));
    add_gradient(row, [&](auto lanes, std::int64_t j) HWY_ATTR {
      return hn::Mul(hn::Mul(lanes.load(d, row.q + j), hn::Sub(lanes.load(d, row.p + j), mean_g)), by_t);
    });
  }
  return loss;
}

}  // namespace

std::size_t dist_loss_workspace_bytes(Rows rows) {
  return static_cast<std::size_t>(rows.classes) *
         (5 * sizeof(double) + static_cast<std::size_t>(2 * rows.rows + 4) * sizeof(float));
}

double add_dist_loss(Rows rows, const DistillationSettings& settings, const float* z, const float* v, float* dz,
                     void* workspace) {
  constexpr std::int64_t kBlocks = 64, kColumns = 64;
  const std::int64_t classes = rows.classes, count = rows.rows * classes;
  DistBatch batch{
      .rows = rows, .settings = settings, .z = z, .v = v, .dz = dz, .sums = static_cast<double*>(workspace)};
  batch.mean_q = reinterpret_cast<float*>(batch.sums + 5 * classes);
  batch.mean_p = batch.mean_q + classes;
  batch.across = batch.mean_p + classes;
  batch.along = batch.across + classes;
  batch.q = batch.along + classes;
  batch.p = batch.q + count;

  // Sums are taken over a fixed number of blocks of rows, and column by column, whatever the number of threads.
  const std::int64_t blocks = std::min(kBlocks, rows.rows);
  const auto first = [&](std::int64_t block) { return rows.rows * block / blocks; };
  parallel_tasks(blocks, [&](std::int64_t block, int) { dist_soften(batch, first(block), first(block + 1)); });
  parallel_for(classes, kColumns, [&](std::int64_t begin, std::int64_t end) { dist_columns(batch, begin, end); });
  double partial[kBlocks] = {};
  parallel_tasks(blocks,
                 [&](std::int64_t block, int) { partial[block] = dist_rows(batch, first(block), first(block + 1)); });
  double row_loss = 0, column_loss = 0;
  for (const double part : partial) row_loss += part;
  for (std::int64_t j = 0; j < classes; ++j) column_loss += batch.sums[j];
  return row_loss / static_cast<double>(rows.rows) + constant_of(settings) * column_loss / static_cast<double>(classes);
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
