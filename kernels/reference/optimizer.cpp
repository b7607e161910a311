// The oracle's optimizer steps, clipping and search for what is not finite (contract: kernels/optimizer.h).
#include "kernels/optimizer.h"

#include <cmath>

namespace retort::reference {
namespace {

/// A ParameterStep of T.
template <class T>
struct Parameter {
  std::int64_t n;
  T* w;
  const T* g;
  T *m, *v;
  explicit Parameter(const ParameterStep& step)
      : n(step.n),
        w(static_cast<T*>(step.w)),
        g(static_cast<const T*>(step.g)),
        m(static_cast<T*>(step.m)),
        v(static_cast<T*>(step.v)) {}
};

template <class T>
void sgd_one(const Parameter<T>& parameter, const SgdSettings& settings, const StepScalars* scalars) {
  const auto [n, w, g, m, v] = parameter;
  for (std::int64_t i = 0; i < n; ++i) {
    const double d = scalars->grad_scale * g[i] + settings.weight_decay * w[i];
    double step = d;
    if (settings.momentum != 0) {
      const double velocity = scalars->step == 1 ? d : settings.momentum * m[i] + d;
      m[i] = static_cast<T>(velocity);
      step = settings.nesterov ? d + settings.momentum * velocity : velocity;
    }
    w[i] = static_cast<T>(w[i] - scalars->lr * step);
  }
}

template <class T>
void adam_one(const Parameter<T>& parameter, const AdamSettings& settings, const StepScalars* scalars) {
  const auto [n, w, g, m, v] = parameter;
  const double t = static_cast<double>(scalars->step);
  const double correction1 = 1 - std::pow(settings.beta1, t), correction2 = 1 - std::pow(settings.beta2, t);
  for (std::int64_t i = 0; i < n; ++i) {
    double weight = w[i], d = scalars->grad_scale * g[i];
    if (settings.decoupled)
      weight -= scalars->lr * settings.weight_decay * weight;
    else
      d += settings.weight_decay * weight;
    const double first = settings.beta1 * m[i] + (1 - settings.beta1) * d;
    const double second = settings.beta2 * v[i] + (1 - settings.beta2) * d * d;
    m[i] = static_cast<T>(first);
    v[i] = static_cast<T>(second);
    w[i] =
        static_cast<T>(weight - scalars->lr * (first / correction1) / (std::sqrt(second / correction2) + settings.eps));
  }
}

template <class T>
void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) sgd_one(Parameter<T>(parameter), settings, scalars);
}

template <class T>
void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) adam_one(Parameter<T>(parameter), settings, scalars);
}

std::size_t workspace_bytes(ParameterSteps) { return 0; }

template <class T>
void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void*) {
  double sum = 0;
  for (const ParameterStep& step : parameters) {
    const Parameter<T> parameter(step);
    for (std::int64_t i = 0; i < parameter.n; ++i) {
      const double value = parameter.g[i];
      sum += value * value;
    }
  }
  *norm = std::sqrt(sum);
  scalars->grad_scale = *norm > max_norm ? max_norm / *norm : 1;
}

template <class T>
void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void*) {
  *index = -1;
  for (std::size_t i = 0; i < parameters.size() && *index < 0; ++i) {
    const Parameter<T> parameter(parameters[i]);
    for (std::int64_t j = 0; j < parameter.n; ++j)
      if (!std::isfinite(parameter.w[j])) *index = static_cast<std::int32_t>(i);
  }
}

}  // namespace

template <class T>
OptimizerKernels optimizer() {
  return {.sgd = sgd<T>,
          .adam = adam<T>,
          .workspace_bytes = workspace_bytes,
          .clip = clip<T>,
          .find_not_finite = find_not_finite<T>};
}
template OptimizerKernels optimizer<float>();
template OptimizerKernels optimizer<double>();

}  // namespace retort::reference
