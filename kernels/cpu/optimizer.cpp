// Steps of SGD, Adam and AdamW, clipping and the search for what is not finite, in float (contract:
// kernels/optimizer.h). clip adds a fixed number of partial sums in double: the same bits whatever the number of
// threads.
#include "kernels/optimizer.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "kernels/cpu/simd/simd.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd/vector_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::cpu {
namespace HWY_NAMESPACE {
namespace {

using F32 = hn::ScalableTag<float>;
constexpr std::int64_t kGrain = 8192;

/// A ParameterStep, typed.
struct Parameter {
  std::int64_t n;
  float* w;
  const float* g;
  float *m, *v;
};

Parameter typed(const ParameterStep& step) {
  return {.n = step.n,
          .w = static_cast<float*>(step.w),
          .g = static_cast<const float*>(step.g),
          .m = static_cast<float*>(step.m),
          .v = static_cast<float*>(step.v)};
}

void sgd_step(const Parameter& parameter, const SgdSettings& settings, const StepScalars* scalars) {
  float *const w = parameter.w, *const m = parameter.m;
  const float* const g = parameter.g;
  const bool momentum_on = settings.momentum != 0, first_step = scalars->step == 1, nesterov = settings.nesterov;
  parallel_for(parameter.n, kGrain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    const auto scale = hn::Set(d, static_cast<float>(scalars->grad_scale));
    const auto decay = hn::Set(d, static_cast<float>(settings.weight_decay));
    const auto momentum = hn::Set(d, static_cast<float>(settings.momentum));
    const auto lr = hn::Set(d, static_cast<float>(scalars->lr));
    vector_loop(d, begin, end, [&](auto lanes, std::int64_t i) HWY_ATTR {
      const auto weight = lanes.load(d, w + i);
      const auto gradient = hn::MulAdd(decay, weight, hn::Mul(scale, lanes.load(d, g + i)));
      auto step = gradient;
      if (momentum_on) {
        const auto velocity = first_step ? gradient : hn::MulAdd(momentum, lanes.load(d, m + i), gradient);
        lanes.store(d, velocity, m + i);
        step = nesterov ? hn::MulAdd(momentum, velocity, gradient) : velocity;
      }
      lanes.store(d, hn::NegMulAdd(lr, step, weight), w + i);
    });
  });
}

void adam_step(const Parameter& parameter, const AdamSettings& settings, const StepScalars* scalars) {
  float *const w = parameter.w, *const m = parameter.m, *const v = parameter.v;
  const float* const g = parameter.g;
  const double t = static_cast<double>(scalars->step);
  const double correction1 = 1 - std::pow(settings.beta1, t), correction2 = 1 - std::pow(settings.beta2, t);
  const double shrink = settings.decoupled ? scalars->lr * settings.weight_decay : 0;
  parallel_for(parameter.n, kGrain, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const F32 d;
    const auto set = [d](double value) HWY_ATTR { return hn::Set(d, static_cast<float>(value)); };
    const auto scale = set(scalars->grad_scale), decay = set(settings.decoupled ? 0 : settings.weight_decay);
    const auto beta1 = set(settings.beta1), rest1 = set(1 - settings.beta1);
    const auto beta2 = set(settings.beta2), rest2 = set(1 - settings.beta2);
    const auto rate = set(scalars->lr / correction1), spread = set(1 / correction2);
    const auto eps = set(settings.eps), decoupled_decay = set(shrink);
    vector_loop(d, begin, end, [&](auto lanes, std::int64_t i) HWY_ATTR {
      const auto weight = lanes.load(d, w + i);
      const auto gradient = hn::MulAdd(decay, weight, hn::Mul(scale, lanes.load(d, g + i)));
      const auto first = hn::MulAdd(beta1, lanes.load(d, m + i), hn::Mul(rest1, gradient));
      const auto second = hn::MulAdd(beta2, lanes.load(d, v + i), hn::Mul(rest2, hn::Mul(gradient, gradient)));
      lanes.store(d, first, m + i);
      lanes.store(d, second, v + i);
      const auto divisor = hn::Add(hn::Sqrt(hn::Mul(second, spread)), eps);
      const auto step = hn::Div(hn::Mul(rate, first), divisor);
      lanes.store(d, hn::Sub(hn::NegMulAdd(decoupled_decay, weight, weight), step), w + i);
    });
  });
}

double sum_of_squares(const float* x, std::int64_t n) {
  const hn::ScalableTag<double> d64;
  const hn::Rebind<float, hn::ScalableTag<double>> half;
  auto sum = hn::Zero(d64);
  vector_loop(d64, 0, n, [&](auto lanes, std::int64_t i) HWY_ATTR {
    const auto value = hn::PromoteTo(d64, lanes.load(half, x + i));
    sum = hn::MulAdd(value, value, sum);
  });
  return hn::GetLane(hn::SumOfLanes(d64, sum));
}

void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) sgd_step(typed(parameter), settings, scalars);
}

void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) adam_step(typed(parameter), settings, scalars);
}

std::size_t optimizer_workspace_bytes(ParameterSteps) { return 0; }

void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void*) {
  constexpr std::int64_t kBlocks = 64, kMinBlock = 8192;  // the bits depend on both
  double sum = 0;
  for (const ParameterStep& step : parameters) {
    const Parameter parameter = typed(step);
    const std::int64_t n = parameter.n, blocks = std::clamp<std::int64_t>(n / kMinBlock, 1, kBlocks);
    double partial[kBlocks];
    parallel_tasks(blocks, [&](std::int64_t block, int) {
      const std::int64_t begin = n * block / blocks;
      partial[block] = sum_of_squares(parameter.g + begin, n * (block + 1) / blocks - begin);
    });
    for (std::int64_t block = 0; block < blocks; ++block) sum += partial[block];
  }
  *norm = std::sqrt(sum);
  scalars->grad_scale = *norm > max_norm ? max_norm / *norm : 1;
}

void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void*) {
  *index = -1;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    std::atomic<bool> found{false};
    const float* const w = typed(parameters[i]).w;
    parallel_for(parameters[i].n, 65536, [&](std::int64_t begin, std::int64_t end) {
      if (!std::all_of(w + begin, w + end, [](float x) { return std::isfinite(x); })) found = true;
    });
    if (!found) continue;
    *index = static_cast<std::int32_t>(i);
    return;
  }
}

}  // namespace

OptimizerKernels optimizer() {
  return {.sgd = sgd,
          .adam = adam,
          .workspace_bytes = optimizer_workspace_bytes,
          .clip = clip,
          .find_not_finite = find_not_finite};
}

}  // namespace HWY_NAMESPACE
}  // namespace retort::cpu
HWY_AFTER_NAMESPACE();
