#include "kernels/cpu/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_norm.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

#ifndef RETORT_KERNELS_CPU_BATCH_NORM_SHARED_
#define RETORT_KERNELS_CPU_BATCH_NORM_SHARED_
namespace retort::cpu {

/// The workspace and how rows are cut. A channel has two sums per range of rows (double), and three coefficients
/// (float) for the second sweep. Arrays are padded so that a kernel may store whole vectors.
class BatchNormPlan {
 public:
  BatchNormPlan(const BatchNormGeometry& g, void* workspace)
      : rows_(g.rows),
        stride_((g.channels + kPad - 1) / kPad * kPad),
        ranges_(std::clamp<std::int64_t>((g.rows + kBlockRows - 1) / kBlockRows, 1, kMaxRanges)),
        sums_(static_cast<double*>(workspace)) {}

  static constexpr std::int64_t kBlockRows = 64;  // summed in float; a block of a few vectors of channels stays in L1
  static constexpr std::int64_t kPad = 64;

  std::size_t bytes() const {
    return static_cast<std::size_t>(stride_) *
           (2 * static_cast<std::size_t>(ranges_) * sizeof(double) + 3 * sizeof(float));
  }
  std::int64_t ranges() const { return ranges_; }
  std::int64_t begin(std::int64_t range) const { return rows_ * range / ranges_; }
  std::int64_t size(std::int64_t range) const { return begin(range + 1) - begin(range); }
  double* first(std::int64_t range) const { return sums_ + 2 * range * stride_; }
  double* second(std::int64_t range) const { return first(range) + stride_; }
  float* coefficients(int which) const { return reinterpret_cast<float*>(first(ranges_)) + which * stride_; }

 private:
  static constexpr std::int64_t kMaxRanges = 32;
  std::int64_t rows_, stride_, ranges_;
  double* sums_;
};

}  // namespace retort::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {

using F32 = hn::ScalableTag<float>;
using F64 = hn::ScalableTag<double>;
using HalfF32 = hn::Rebind<float, F64>;
using V = hn::Vec<F32>;
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(F32()));
constexpr std::int64_t kGroup = 4;  // vectors of channels whose sums are held in registers

/// Runs body(range, channel_begin, channel_end) for all ranges; few ranges are cut by channels too.
template <class Body>
void for_ranges(const BatchNormPlan& plan, std::int64_t channels, const Body& body) {
  const std::int64_t strips = (channels + BatchNormPlan::kPad - 1) / BatchNormPlan::kPad;
  const std::int64_t parts = std::clamp<std::int64_t>(2 * num_threads() / plan.ranges(), 1, strips);
  parallel_tasks(plan.ranges() * parts, [&](std::int64_t task, int) {
    const std::int64_t part = task % parts;
    body(task / parts, strips * part / parts * BatchNormPlan::kPad,
         std::min(channels, strips * (part + 1) / parts * BatchNormPlan::kPad));
  });
}

/// Runs body(begin, end) on ranges of rows, the last rows first.
template <class Body>
void for_rows_reversed(const BatchNormGeometry& g, const Body& body) {
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, 32768 / g.channels);
  const std::int64_t tasks = (g.rows + rows_per_task - 1) / rows_per_task;
  parallel_tasks(tasks, [&](std::int64_t task, int) {
    const std::int64_t begin = (tasks - 1 - task) * rows_per_task;
    body(begin, std::min(g.rows, begin + rows_per_task));
  });
}

/// Runs body(span, count, c) over [begin, end): count vectors of channels from c, kGroup at a time while they last.
template <class Body>
HWY_INLINE void for_groups(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t c = begin;
  for (; c + kGroup * kLanes <= end; c += kGroup * kLanes) body(Whole{}, std::integral_constant<int, kGroup>(), c);
  vector_loop(F32(), c, end,
              [&](auto span, std::int64_t i) HWY_ATTR { body(span, std::integral_constant<int, 1>(), i); });
}

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
    for_groups(channel_begin, channel_end, [&](auto span, auto group, std::int64_t c) HWY_ATTR {
      constexpr int count = decltype(group)::value;
      const T* from = x + row * channels + c;
      V shift[count], sum[count], squares[count];
      for (int v = 0; v < count; ++v) sum[v] = squares[v] = hn::Zero(d);
      if (row == 0) {
        for (std::int64_t r = 0; r < block; ++r)
          for (int v = 0; v < count; ++v) sum[v] = hn::Add(sum[v], span.load(d, from + r * channels + v * kLanes));
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
          const V centred = hn::Sub(span.load(d, from + r * channels + v * kLanes), shift[v]);
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
    range_statistics(x + plan.begin(range) * g.channels, plan.size(range), g.channels, channel_begin, channel_end,
                     plan.first(range), plan.second(range));
  });
}

// ------------------------------------------------------------------------------------------------ forward

/// y = act((x - mean) * slope + offset + residual), the three coefficients per channel from the plan.
template <class T, bool relu_on>
void normalize_rows(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormForward& f) {
  const T* x = static_cast<const T*>(f.x);
  const T* residual = static_cast<const T*>(f.residual);
  T* y = static_cast<T*>(f.y);
  const float *mean = plan.coefficients(0), *slope = plan.coefficients(1), *offset = plan.coefficients(2);
  for_rows_reversed(g, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * g.channels;
      vector_loop(d, 0, g.channels, [&](auto span, std::int64_t c) HWY_ATTR {
        const V centred = hn::Sub(span.load(d, x + at + c), hn::LoadU(d, mean + c));
        V value = hn::MulAdd(centred, hn::LoadU(d, slope + c), hn::LoadU(d, offset + c));
        if (residual) value = hn::Add(value, span.load(d, residual + at + c));
        span.store(d, relu_on ? relu(d, value) : value, y + at + c);
      });
    }
  });
}

template <class T>
void normalize(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormForward& f) {
  f.relu ? normalize_rows<T, true>(g, plan, f) : normalize_rows<T, false>(g, plan, f);
}

// ----------------------------------------------------------------------------------------------- backward

/// Where the sign of y, on which the gradient of a ReLU depends, is to be had.
enum class Sign : std::uint8_t { none, of_y, from_x };

/// What arrives before the activation; x is given less the mean of its channel, c.
template <class T, Sign sign, class Span>
HWY_INLINE V upstream(F32 d, Span span, const BatchNormPlan& plan, const BatchNormBackward& b, V centred,
                      std::int64_t at, std::int64_t c) {
  const V gradient = span.load(d, static_cast<const T*>(b.dy) + at);
  if constexpr (sign == Sign::none) return gradient;
  V y;
  if constexpr (sign == Sign::of_y)
    y = span.load(d, static_cast<const T*>(b.y) + at);
  else  // as normalize_rows has it
    y = hn::MulAdd(centred, hn::LoadU(d, plan.coefficients(0) + c),
                   span.load(d, static_cast<const float*>(b.beta) + c));
  return hn::IfThenElseZero(hn::Gt(y, hn::Zero(d)), gradient);
}

template <int count>
HWY_INLINE void accumulate(const V (&sum)[count], bool first, double* total) {
  const F32 d;
  const F64 d64;
  const HalfF32 half;
  HWY_ALIGN float buffer[count * kLanes];
  for (int v = 0; v < count; ++v) hn::Store(sum[v], d, buffer + v * kLanes);
  for (std::int64_t i = 0; i < count * kLanes; i += static_cast<std::int64_t>(hn::Lanes(d64))) {
    const auto value = hn::PromoteTo(d64, hn::Load(half, buffer + i));
    hn::StoreU(first ? value : hn::Add(hn::LoadU(d64, total + i), value), d64, total + i);
  }
}

/// Per range and channel: the sum of the upstream gradient, and of its product with x - mean.
template <class T, Sign sign>
void gradient_sums(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormBackward& b) {
  const float* mean = static_cast<const float*>(b.mean);
  for_ranges(plan, g.channels, [&](std::int64_t range, std::int64_t channel_begin, std::int64_t channel_end) HWY_ATTR {
    const F32 d;
    const std::int64_t begin = plan.begin(range), end = begin + plan.size(range);
    for (std::int64_t row = begin; row < end; row += BatchNormPlan::kBlockRows)
      for_groups(channel_begin, channel_end, [&](auto span, auto group, std::int64_t c) HWY_ATTR {
        constexpr int count = decltype(group)::value;
        V sum[count], product[count], centre[count];
        for (int v = 0; v < count; ++v) {
          sum[v] = product[v] = hn::Zero(d);
          centre[v] = span.load(d, mean + c + v * kLanes);
        }
        for (std::int64_t r = row; r < std::min(end, row + BatchNormPlan::kBlockRows); ++r)
          for (int v = 0; v < count; ++v) {
            const std::int64_t at = r * g.channels + c + v * kLanes;
            const V centred = hn::Sub(span.load(d, static_cast<const T*>(b.x) + at), centre[v]);
            const V gradient = upstream<T, sign>(d, span, plan, b, centred, at, c + v * kLanes);
            sum[v] = hn::Add(sum[v], gradient);
            product[v] = hn::MulAdd(gradient, centred, product[v]);
          }
        accumulate<count>(sum, row == begin, plan.first(range) + c);
        accumulate<count>(product, row == begin, plan.second(range) + c);
      });
  });
}

/// dx = slope * (g - offset - (x - mean) * tilt); in evaluation offset and tilt are 0.
template <class T, Sign sign, bool train>
void gradient_rows(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormBackward& b) {
  const float* mean = static_cast<const float*>(b.mean);
  const float *slope = plan.coefficients(0), *offset = plan.coefficients(1), *tilt = plan.coefficients(2);
  for_rows_reversed(g, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row)
      vector_loop(d, 0, g.channels, [&](auto span, std::int64_t c) HWY_ATTR {
        const std::int64_t at = row * g.channels + c;
        V centred = hn::Zero(d);
        if constexpr (train || sign == Sign::from_x)
          centred = hn::Sub(span.load(d, static_cast<const T*>(b.x) + at), span.load(d, mean + c));
        const V gradient = upstream<T, sign>(d, span, plan, b, centred, at, c);
        if (b.dresidual) span.store(d, gradient, static_cast<T*>(b.dresidual) + at);
        if (!b.dx) return;
        V value = gradient;
        if constexpr (train)
          value = hn::NegMulAdd(centred, hn::LoadU(d, tilt + c), hn::Sub(gradient, hn::LoadU(d, offset + c)));
        span.store(d, hn::Mul(value, hn::LoadU(d, slope + c)), static_cast<T*>(b.dx) + at);
      });
  });
}

template <class T>
void sums(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormBackward& b) {
  const auto run = !b.relu ? gradient_sums<T, Sign::none>
                   : b.y   ? gradient_sums<T, Sign::of_y>
                           : gradient_sums<T, Sign::from_x>;
  run(g, plan, b);
}

template <class T, bool train>
void gradients_of(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormBackward& b) {
  const auto run = !b.relu ? gradient_rows<T, Sign::none, train>
                   : b.y   ? gradient_rows<T, Sign::of_y, train>
                           : gradient_rows<T, Sign::from_x, train>;
  run(g, plan, b);
}

template <class T>
void gradients(const BatchNormGeometry& g, const BatchNormPlan& plan, const BatchNormBackward& b, bool train) {
  (train ? gradients_of<T, true> : gradients_of<T, false>)(g, plan, b);
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::cpu {
namespace {

constexpr std::int64_t kChannelGrain = 256;

/// From what is handed on to backward and to apply, so that these see the same y to the bit.
void set_forward_coefficients(const BatchNormPlan& plan, const BatchNormForward& f, std::int64_t c, float mean,
                              float inv_std) {
  plan.coefficients(0)[c] = mean;
  plan.coefficients(1)[c] = static_cast<const float*>(f.gamma)[c] * inv_std;
  plan.coefficients(2)[c] = static_cast<const float*>(f.beta)[c];
}

template <class T>
void backward(const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace, bool train) {
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c)
    plan.coefficients(0)[c] = static_cast<const float*>(b.gamma)[c] * static_cast<const float*>(b.inv_std)[c];
  const bool sums_wanted = b.dgamma || b.dbeta || (train && b.dx);
  if (sums_wanted) RETORT_SIMD_SELECT(sums<T>)(g, plan, b);
  const double rows = static_cast<double>(g.rows);
  parallel_for(sums_wanted ? g.channels : 0, kChannelGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const double inv_std = static_cast<const float*>(b.inv_std)[c];
      double dbeta = 0, product = 0;
      for (std::int64_t range = 0; range < plan.ranges(); ++range) {
        dbeta += plan.first(range)[c];
        product += plan.second(range)[c];
      }
      if (b.dgamma) static_cast<float*>(b.dgamma)[c] = static_cast<float>(product * inv_std);
      if (b.dbeta) static_cast<float*>(b.dbeta)[c] = static_cast<float>(dbeta);
      plan.coefficients(1)[c] = static_cast<float>(dbeta / rows);
      plan.coefficients(2)[c] = static_cast<float>(product * inv_std * inv_std / rows);
    }
  });
  if (b.dx || b.dresidual) RETORT_SIMD_SELECT(gradients<T>)(g, plan, b, train);
}

}  // namespace

std::size_t batch_norm_workspace_bytes(const BatchNormGeometry& g) { return BatchNormPlan(g, nullptr).bytes(); }

template <class T>
void batch_norm_forward_train(Stream, const BatchNormGeometry& g, const BatchNormForward& f, double momentum,
                              void* mean_, void* inv_std_, void* running_mean_, void* running_var_, void* workspace) {
  const BatchNormPlan plan(g, workspace);
  RETORT_SIMD_SELECT(statistics<T>)(g, plan, static_cast<const T*>(f.x));
  float* running_mean = static_cast<float*>(running_mean_);
  float* running_var = static_cast<float*>(running_var_);
  const double rows = static_cast<double>(g.rows);
  parallel_for(g.channels, kChannelGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double mean = plan.first(0)[c], deviations = plan.second(0)[c];
      double before = static_cast<double>(plan.size(0));
      for (std::int64_t range = 1; range < plan.ranges(); ++range) {
        const double size = static_cast<double>(plan.size(range)), delta = plan.first(range)[c] - mean;
        mean += delta * (size / (before + size));
        deviations += plan.second(range)[c] + delta * delta * (before * size / (before + size));
        before += size;
      }
      if (deviations < 0) deviations = 0;  // squares - sum^2 / rows of a constant may round below 0
      static_cast<float*>(mean_)[c] = static_cast<float>(mean);
      static_cast<float*>(inv_std_)[c] = static_cast<float>(1 / std::sqrt(deviations / rows + f.eps));
      set_forward_coefficients(plan, f, c, static_cast<float*>(mean_)[c], static_cast<float*>(inv_std_)[c]);
      // One row has no unbiased variance; it counts as 0.
      const double unbiased = deviations / std::max(1.0, rows - 1);
      running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * mean);
      running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * unbiased);
    }
  });
  RETORT_SIMD_SELECT(normalize<T>)(g, plan, f);
}

template <class T>
void batch_norm_forward_eval(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* running_mean,
                             const void* running_var, void* mean, void* inv_std, void* workspace) {
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const float centre = static_cast<const float*>(running_mean)[c];
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<const float*>(running_var)[c] + f.eps));
    set_forward_coefficients(plan, f, c, centre, scale);
    if (mean) static_cast<float*>(mean)[c] = centre;
    if (inv_std) static_cast<float*>(inv_std)[c] = scale;
  }
  RETORT_SIMD_SELECT(normalize<T>)(g, plan, f);
}

void batch_norm_fold(Stream, std::int64_t channels, const void* gamma, const void* beta, const void* running_mean,
                     const void* running_var, double eps, const void* bias, void* scale, void* shift) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const double slope =
        static_cast<const float*>(gamma)[c] / std::sqrt(static_cast<const float*>(running_var)[c] + eps);
    const double before = bias != nullptr ? static_cast<const float*>(bias)[c] : 0;
    const double offset = before - static_cast<const float*>(running_mean)[c];
    static_cast<float*>(scale)[c] = static_cast<float>(slope);
    static_cast<float*>(shift)[c] = static_cast<float>(static_cast<const float*>(beta)[c] + offset * slope);
  }
}

template <class T>
void batch_norm_apply(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* mean,
                      const void* inv_std, void* workspace) {
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c)
    set_forward_coefficients(plan, f, c, static_cast<const float*>(mean)[c], static_cast<const float*>(inv_std)[c]);
  RETORT_SIMD_SELECT(normalize<T>)(g, plan, f);
}

template <class T>
void batch_norm_backward_train(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace) {
  backward<T>(g, b, workspace, true);
}

template <class T>
void batch_norm_backward_eval(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace) {
  backward<T>(g, b, workspace, false);
}

#define RETORT_INSTANTIATE(T)                                                                                         \
  template void batch_norm_forward_train<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, double, void*, \
                                            void*, void*, void*, void*);                                              \
  template void batch_norm_forward_eval<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, const void*,    \
                                           const void*, void*, void*, void*);                                         \
  template void batch_norm_apply<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, const void*,           \
                                    const void*, void*);                                                              \
  template void batch_norm_backward_train<T>(Stream, const BatchNormGeometry&, const BatchNormBackward&, void*);      \
  template void batch_norm_backward_eval<T>(Stream, const BatchNormGeometry&, const BatchNormBackward&, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(BFloat16)
#undef RETORT_INSTANTIATE

}  // namespace retort::cpu
#endif
