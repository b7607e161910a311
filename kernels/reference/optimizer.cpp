#include "kernels/reference/optimizer.h"

#include <cmath>

namespace retort::reference {

namespace {

template <class T>
void sgd_one(const ParameterStep& parameter, const SgdSettings& settings, const StepScalars* scalars) {
  T* w = static_cast<T*>(parameter.w);
  const T* g = static_cast<const T*>(parameter.g);
  T* m = static_cast<T*>(parameter.m);
  for (std::int64_t i = 0; i < parameter.n; ++i) {
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
void adam_one(const ParameterStep& parameter, const AdamSettings& settings, const StepScalars* scalars) {
  T* w = static_cast<T*>(parameter.w);
  const T* g = static_cast<const T*>(parameter.g);
  T* m = static_cast<T*>(parameter.m);
  T* v = static_cast<T*>(parameter.v);
  const double t = static_cast<double>(scalars->step);
  const double correction1 = 1 - std::pow(settings.beta1, t), correction2 = 1 - std::pow(settings.beta2, t);
  for (std::int64_t i = 0; i < parameter.n; ++i) {
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

}  // namespace

template <class T>
void sgd(Stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) sgd_one<T>(parameter, settings, scalars);
}

template <class T>
void adam(Stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars) {
  for (const ParameterStep& parameter : parameters) adam_one<T>(parameter, settings, scalars);
}

std::size_t optimizer_workspace_bytes(ParameterSteps) { return 0; }

template <class T>
void clip(Stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm, void*) {
  double sum = 0;
  for (const ParameterStep& parameter : parameters)
    for (std::int64_t i = 0; i < parameter.n; ++i) {
      const double value = static_cast<const T*>(parameter.g)[i];
      sum += value * value;
    }
  *norm = std::sqrt(sum);
  scalars->grad_scale = *norm > max_norm ? max_norm / *norm : 1;
}

template <class T>
void find_not_finite(Stream, ParameterSteps parameters, std::int32_t* index, void*) {
  *index = -1;
  for (std::size_t i = 0; i < parameters.size() && *index < 0; ++i)
    for (std::int64_t j = 0; j < parameters[i].n; ++j)
      if (!std::isfinite(static_cast<const T*>(parameters[i].w)[j])) *index = static_cast<std::int32_t>(i);
}

#define RETORT_INSTANTIATE(T)                                                             \
  template void sgd<T>(Stream, ParameterSteps, const SgdSettings&, const StepScalars*);   \
  template void adam<T>(Stream, ParameterSteps, const AdamSettings&, const StepScalars*); \
  template void clip<T>(Stream, ParameterSteps, double, StepScalars*, double*, void*);    \
  template void find_not_finite<T>(Stream, ParameterSteps, std::int32_t*, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::reference
