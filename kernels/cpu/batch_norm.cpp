// Batch normalisation of activations of type T, float or BFloat16; sums are f32 and double, vectors of channels f32
// (contract: kernels/batch_norm.h).
//
// The kernels are bound by memory, so each sweeps the activations as seldom as it can: forward reads x once for the
// statistics and once to normalise; backward reads x and dy (y too after a residual) once for the sums and once for dx.
// The second sweep runs backwards through the rows, as the last ones read are still in the cache.
//
// Rows are cut into ranges whose number depends on the shape alone, and sums are added range by range: the result does
// not depend on the number of threads.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/cpu/batch_norm_plan.h"
#include "kernels/entry.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_norm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/batch_norm-inl.h"

#ifndef RETORT_KERNELS_CPU_BATCH_NORM_SHARED_
#define RETORT_KERNELS_CPU_BATCH_NORM_SHARED_
namespace retort::cpu {
namespace {

/// What is handed on to backward and to apply, so that these see the same y to the bit.
void set_forward_coefficients(const BatchNormPlan& plan, const float* gamma, const float* beta, std::int64_t c,
                              float mean, float inv_std) {
  plan.coefficients(0)[c] = mean;
  plan.coefficients(1)[c] = gamma[c] * inv_std;
  plan.coefficients(2)[c] = beta[c];
}

/// What training writes of the channels' statistics.
struct ChannelStatistics {
  float *mean, *inv_std, *running_mean, *running_var;
};

// Sums in double, a channel at a time. Apart from the vectors, and never inlined there: the compiler would fuse
// products and sums where an instruction set can, and the bits would differ.

/// Joins the ranges' statistics, which the plan holds, and moves the running ones.
HWY_NOINLINE void finish_statistics(const BatchNormGeometry& g, const BatchNormPlan& plan, double eps, double momentum,
                                    const ChannelStatistics& s) {
  const double rows = static_cast<double>(g.rows);
  parallel_for(g.channels, kChannelGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double mean = plan.first(0)[c], deviations = plan.second(0)[c];
      double before = static_cast<double>(plan.rows(0).size());
      for (std::int64_t range = 1; range < plan.ranges(); ++range) {
        const double size = static_cast<double>(plan.rows(range).size()), delta = plan.first(range)[c] - mean;
        mean += delta * (size / (before + size));
        deviations += plan.second(range)[c] + delta * delta * (before * size / (before + size));
        before += size;
      }
      if (deviations < 0) deviations = 0;  // squares - sum^2 / rows of a constant may round below 0
      s.mean[c] = static_cast<float>(mean);
      s.inv_std[c] = static_cast<float>(1 / std::sqrt(deviations / rows + eps));
      // One row has no unbiased variance; it counts as 0.
      const double unbiased = deviations / std::max(1.0, rows - 1);
      s.running_mean[c] = static_cast<float>((1 - momentum) * s.running_mean[c] + momentum * mean);
      s.running_var[c] = static_cast<float>((1 - momentum) * s.running_var[c] + momentum * unbiased);
    }
  });
}

void fold(Stream, std::int64_t channels, const float* gamma, const float* beta, const float* running_mean,
          const float* running_var, double eps, const float* bias, float* scale, float* shift) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const double slope = gamma[c] / std::sqrt(running_var[c] + eps);
    const double offset = (bias != nullptr ? bias[c] : 0) - double{running_mean[c]};
    scale[c] = static_cast<float>(slope);
    shift[c] = static_cast<float>(beta[c] + offset * slope);
  }
}

std::size_t workspace_bytes(const BatchNormGeometry& g) { return BatchNormPlan(g, nullptr).bytes(); }

}  // namespace
}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

/// In batch_norm_backward.cpp.
template <class T, bool train>
decltype(BatchNormKernels::backward_train) batch_norm_backward();

namespace {

/// BatchNormForward, typed.
template <class T>
struct Forward {
  explicit Forward(const BatchNormForward& f)
      : x(static_cast<const T*>(f.x)),
        residual(static_cast<const T*>(f.residual)),
        y(static_cast<T*>(f.y)),
        gamma(static_cast<const float*>(f.gamma)),
        beta(static_cast<const float*>(f.beta)),
        eps(f.eps),
        relu(f.relu) {}
  const T *x, *residual;
  T* y;
  const float *gamma, *beta;
  double eps;
  bool relu;
};

// --------------------------------------------------------------------------------------------- statistics

/// Joins a block of `rows` rows, whose sums of x - shift and of its square are given, to the mean and the sum of
/// squared deviations of the `before` rows ahead of it (Chan, Golub & LeVeque 1979).
template <int count>
HWY_INLINE void join(double before, double rows, const V (&shift)[count], const V (&sum)[count],
                     const V (&squares)[count], double* mean, double* deviations) {
  const F32 d;
  const F64 d64;
  const HalfF32 half;
  HWY_ALIGN float buffers[3][count * kLanes];
  for (int v = 0; v < count; ++v) {
    hn::Store(shift[v], d, buffers[0] + v * kLanes);
    hn::Store(sum[v], d, buffers[1] + v * kLanes);
    hn::Store(squares[v], d, buffers[2] + v * kLanes);
  }
  const auto per_row = hn::Set(d64, 1 / rows), share = hn::Set(d64, rows / (before + rows));
  const auto spread = hn::Set(d64, before * rows / (before + rows));
  for (std::int64_t i = 0; i < count * kLanes; i += static_cast<std::int64_t>(hn::Lanes(d64))) {
    const auto block_sum = hn::PromoteTo(d64, hn::Load(half, buffers[1] + i));
    const auto offset = hn::Mul(block_sum, per_row);
    const auto block_mean = hn::Add(hn::PromoteTo(d64, hn::Load(half, buffers[0] + i)), offset);
    const auto block_deviations = hn::NegMulAdd(block_sum, offset, hn::PromoteTo(d64, hn::Load(half, buffers[2] + i)));
    if (before == 0) {
      hn::StoreU(block_mean, d64, mean + i);
      hn::StoreU(block_deviations, d64, deviations + i);
    } else {
      const auto old = hn::LoadU(d64, mean + i), delta = hn::Sub(block_mean, old);
      hn::StoreU(hn::MulAdd(delta, share, old), d64, mean + i);
      const auto between = hn::Mul(hn::Mul(delta, delta), spread);
      hn::StoreU(hn::Add(hn::Add(hn::LoadU(d64, deviations + i), block_deviations), between), d64, deviations + i);
    }
  }
}

/// The mean and the sum of squared deviations of channels [channel_begin, channel_end) over rows of x. A block is
/// summed about the mean of the rows before it (the first about its own): one read, and what cancels in
/// squares - sum^2 / rows is no larger than the distance between means that join() adds.
template <class T>
void range_statistics(const T* x, std::int64_t rows, std::int64_t channels, std::int64_t channel_begin,
                      std::int64_t channel_end, double* mean, double* deviations) {
  const F32 d;
  const F64 d64;
  const HalfF32 half;
  for (std::int64_t row = 0; row < rows; row += BatchNormPlan::kBlockRows) {
    const std::int64_t block = std::min(BatchNormPlan::kBlockRows, rows - row);
    for_groups(channel_begin, channel_end, [&](auto lanes, auto group, std::int64_t c) HWY_ATTR {
      constexpr int count = decltype(group)::value;
      const T* from = x + row * channels + c;
      V shift[count], sum[count], squares[count];
      for (int v = 0; v < count; ++v) sum[v] = squares[v] = hn::Zero(d);
      if (row == 0) {
        for (std::int64_t r = 0; r < block; ++r)
          for (int v = 0; v < count; ++v) sum[v] = hn::Add(sum[v], lanes.load(d, from + r * channels + v * kLanes));
        for (int v = 0; v < count; ++v) {
          shift[v] = hn::Mul(sum[v], hn::Set(d, 1 / static_cast<float>(block)));
          sum[v] = hn::Zero(d);
        }
      } else {
        HWY_ALIGN float rounded[count * kLanes];
        for (std::int64_t i = 0; i < count * kLanes; i += static_cast<std::int64_t>(hn::Lanes(d64)))
          hn::Store(hn::DemoteTo(half, hn::LoadU(d64, mean + c + i)), half, rounded + i);
        for (int v = 0; v < count; ++v) shift[v] = hn::Load(d, rounded + v * kLanes);
      }
      for (std::int64_t r = 0; r < block; ++r)
        for (int v = 0; v < count; ++v) {
          const V centred = hn::Sub(lanes.load(d, from + r * channels + v * kLanes), shift[v]);
          sum[v] = hn::Add(sum[v], centred);
          squares[v] = hn::MulAdd(centred, centred, squares[v]);
        }
      join<count>(static_cast<double>(row), static_cast<double>(block), shift, sum, squares, mean + c, deviations + c);
    });
  }
}

template <class T>
void statistics(const BatchNormGeometry& g, const BatchNormPlan& plan, const T* x) {
  for_ranges(plan, g.channels, [&](std::int64_t range, std::int64_t channel_begin, std::int64_t channel_end) {
    range_statistics(x + plan.rows(range).begin * g.channels, plan.rows(range).size(), g.channels, channel_begin,
                     channel_end, plan.first(range), plan.second(range));
  });
}

// ------------------------------------------------------------------------------------------------ forward

/// y = act((x - mean) * slope + offset + residual), the three coefficients per channel from the plan.
template <class T, bool relu_on>
void normalize_rows(const BatchNormGeometry& g, const BatchNormPlan& plan, const Forward<T>& f) {
  const T *const x = f.x, *const residual = f.residual;
  T* const y = f.y;
  const float *mean = plan.coefficients(0), *slope = plan.coefficients(1), *offset = plan.coefficients(2);
  for_rows_reversed(g, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * g.channels;
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const V centred = hn::Sub(lanes.load(d, x + at + c), hn::LoadU(d, mean + c));
        V value = hn::MulAdd(centred, hn::LoadU(d, slope + c), hn::LoadU(d, offset + c));
        if (residual) value = hn::Add(value, lanes.load(d, residual + at + c));
        lanes.store(d, relu_on ? relu(d, value) : value, y + at + c);
      });
    }
  });
}

template <class T>
void normalize(const BatchNormGeometry& g, const BatchNormPlan& plan, const Forward<T>& f) {
  f.relu ? normalize_rows<T, true>(g, plan, f) : normalize_rows<T, false>(g, plan, f);
}

// ------------------------------------------------------------------------------------------------- entries

template <class T>
void forward_train(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, double momentum, float* mean,
                   float* inv_std, float* running_mean, float* running_var, void* workspace) {
  const Forward<T> f(arguments);
  const BatchNormPlan plan(g, workspace);
  statistics(g, plan, f.x);
  finish_statistics(g, plan, f.eps, momentum,
                    {.mean = mean, .inv_std = inv_std, .running_mean = running_mean, .running_var = running_var});
  for (std::int64_t c = 0; c < g.channels; ++c) set_forward_coefficients(plan, f.gamma, f.beta, c, mean[c], inv_std[c]);
  normalize(g, plan, f);
}

template <class T>
void forward_eval(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, const float* running_mean,
                  const float* running_var, float* mean, float* inv_std, void* workspace) {
  const Forward<T> f(arguments);
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const auto scale = static_cast<float>(1 / std::sqrt(running_var[c] + f.eps));
    set_forward_coefficients(plan, f.gamma, f.beta, c, running_mean[c], scale);
    if (mean) mean[c] = running_mean[c];
    if (inv_std) inv_std[c] = scale;
  }
  normalize(g, plan, f);
}

template <class T>
void apply(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, const float* mean,
           const float* inv_std, void* workspace) {
  const Forward<T> f(arguments);
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c) set_forward_coefficients(plan, f.gamma, f.beta, c, mean[c], inv_std[c]);
  normalize(g, plan, f);
}

}  // namespace

template <class T>
BatchNormKernels batch_norm() {
  return {.workspace_bytes = workspace_bytes,
          .forward_train = entry<forward_train<T>>,
          .forward_eval = entry<forward_eval<T>>,
          .fold = entry<fold>,
          .apply = entry<apply<T>>,
          .backward_train = batch_norm_backward<T, true>(),
          .backward_eval = batch_norm_backward<T, false>()};
}

template BatchNormKernels batch_norm<float>();
template BatchNormKernels batch_norm<BFloat16>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
