// The gradients of batch normalisation (see batch_norm.cpp): one sweep for the sums over the rows, one for dx.
#include <algorithm>

#include "kernels/batch_norm.h"
#include "kernels/bfloat16.h"
#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_norm_backward.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/batch_norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

/// BatchNormBackward, typed.
template <class T>
struct Backward {
  explicit Backward(const BatchNormBackward& b)
      : x(static_cast<const T*>(b.x)),
        y(static_cast<const T*>(b.y)),
        dy(static_cast<const T*>(b.dy)),
        dx(static_cast<T*>(b.dx)),
        dresidual(static_cast<T*>(b.dresidual)),
        gamma(static_cast<const float*>(b.gamma)),
        beta(static_cast<const float*>(b.beta)),
        mean(static_cast<const float*>(b.mean)),
        inv_std(static_cast<const float*>(b.inv_std)),
        dgamma(static_cast<float*>(b.dgamma)),
        dbeta(static_cast<float*>(b.dbeta)),
        relu(b.relu) {}
  const T *x, *y, *dy;
  T *dx, *dresidual;
  const float *gamma, *beta, *mean, *inv_std;
  float *dgamma, *dbeta;
  bool relu;
};

/// Where the sign of y, which the gradient of a ReLU needs, comes from.
enum class Sign : std::uint8_t { none, of_y, from_x };

/// The gradient before the activation. `centred` is x less the mean of channel c.
template <class T, Sign sign, class Lanes>
HWY_INLINE V upstream(F32 d, Lanes lanes, const BatchNormPlan& plan, const Backward<T>& b, V centred, std::int64_t at,
                      std::int64_t c) {
  const V gradient = lanes.load(d, b.dy + at);
  if constexpr (sign == Sign::none) return gradient;
  V y;
  if constexpr (sign == Sign::of_y)
    y = lanes.load(d, b.y + at);
  else  // as normalize_rows has it
    y = hn::MulAdd(centred, hn::LoadU(d, plan.coefficients(0) + c), lanes.load(d, b.beta + c));
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
void gradient_sums(const BatchNormGeometry& g, const BatchNormPlan& plan, const Backward<T>& b) {
  const float* const mean = b.mean;
  for_ranges(plan, g.channels, [&](std::int64_t range, std::int64_t channel_begin, std::int64_t channel_end) HWY_ATTR {
    const F32 d;
    const std::int64_t begin = plan.rows(range).begin, end = plan.rows(range).end;
    for (std::int64_t row = begin; row < end; row += BatchNormPlan::kBlockRows)
      for_groups(channel_begin, channel_end, [&](auto lanes, auto group, std::int64_t c) HWY_ATTR {
        constexpr int count = decltype(group)::value;
        V sum[count], product[count], centre[count];
        for (int v = 0; v < count; ++v) {
          sum[v] = product[v] = hn::Zero(d);
          centre[v] = lanes.load(d, mean + c + v * kLanes);
        }
        for (std::int64_t r = row; r < std::min(end, row + BatchNormPlan::kBlockRows); ++r)
          for (int v = 0; v < count; ++v) {
            const std::int64_t at = r * g.channels + c + v * kLanes;
            const V centred = hn::Sub(lanes.load(d, b.x + at), centre[v]);
            const V gradient = upstream<T, sign>(d, lanes, plan, b, centred, at, c + v * kLanes);
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
void gradient_rows(const BatchNormGeometry& g, const BatchNormPlan& plan, const Backward<T>& b) {
  const float* const mean = b.mean;
  const float *slope = plan.coefficients(0), *offset = plan.coefficients(1), *tilt = plan.coefficients(2);
  for_rows_reversed(g, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    for (std::int64_t row = begin; row < end; ++row)
      vector_loop(d, 0, g.channels, [&](auto lanes, std::int64_t c) HWY_ATTR {
        const std::int64_t at = row * g.channels + c;
        V centred = hn::Zero(d);
        if constexpr (train || sign == Sign::from_x)
          centred = hn::Sub(lanes.load(d, b.x + at), lanes.load(d, mean + c));
        const V gradient = upstream<T, sign>(d, lanes, plan, b, centred, at, c);
        if (b.dresidual) lanes.store(d, gradient, b.dresidual + at);
        if (!b.dx) return;
        V value = gradient;
        if constexpr (train)
          value = hn::NegMulAdd(centred, hn::LoadU(d, tilt + c), hn::Sub(gradient, hn::LoadU(d, offset + c)));
        lanes.store(d, hn::Mul(value, hn::LoadU(d, slope + c)), b.dx + at);
      });
  });
}

template <class T>
void sums(const BatchNormGeometry& g, const BatchNormPlan& plan, const Backward<T>& b) {
  const auto run = !b.relu ? gradient_sums<T, Sign::none>
                   : b.y   ? gradient_sums<T, Sign::of_y>
                           : gradient_sums<T, Sign::from_x>;
  run(g, plan, b);
}

template <class T, bool train>
void gradients(const BatchNormGeometry& g, const BatchNormPlan& plan, const Backward<T>& b) {
  const auto run = !b.relu ? gradient_rows<T, Sign::none, train>
                   : b.y   ? gradient_rows<T, Sign::of_y, train>
                           : gradient_rows<T, Sign::from_x, train>;
  run(g, plan, b);
}

/// The gradients of gamma and beta from the ranges' sums, and the coefficients of dx.
template <class T>
void finish_gradients(const BatchNormGeometry& g, const BatchNormPlan& plan, const Backward<T>& b) {
  const double rows = static_cast<double>(g.rows);
  parallel_for(g.channels, kChannelGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const double inv_std = b.inv_std[c];
      double dbeta = 0, product = 0;
      for (std::int64_t range = 0; range < plan.ranges(); ++range) {
        dbeta += plan.first(range)[c];
        product += plan.second(range)[c];
      }
      if (b.dgamma) b.dgamma[c] = static_cast<float>(product * inv_std);
      if (b.dbeta) b.dbeta[c] = static_cast<float>(dbeta);
      plan.coefficients(1)[c] = static_cast<float>(dbeta / rows);
      plan.coefficients(2)[c] = static_cast<float>(product * inv_std * inv_std / rows);
    }
  });
}

template <class T, bool train>
void backward(Stream, const BatchNormGeometry& g, const BatchNormBackward& arguments, void* workspace) {
  const Backward<T> b(arguments);
  const BatchNormPlan plan(g, workspace);
  for (std::int64_t c = 0; c < g.channels; ++c) plan.coefficients(0)[c] = b.gamma[c] * b.inv_std[c];
  if (b.dgamma || b.dbeta || (train && b.dx)) {
    sums(g, plan, b);
    finish_gradients(g, plan, b);
  }
  if (b.dx || b.dresidual) gradients<T, train>(g, plan, b);
}

}  // namespace

template <class T, bool train>
decltype(BatchNormKernels::backward_train) batch_norm_backward() {
  return backward<T, train>;
}

template decltype(BatchNormKernels::backward_train) batch_norm_backward<float, true>();
template decltype(BatchNormKernels::backward_train) batch_norm_backward<float, false>();
template decltype(BatchNormKernels::backward_train) batch_norm_backward<BFloat16, true>();
template decltype(BatchNormKernels::backward_train) batch_norm_backward<BFloat16, false>();

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
