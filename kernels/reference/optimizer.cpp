#include "kernels/reference/optimizer.h"

#include <cmath>

namespace retort::reference {

template <class T>
void sgd(Stream, std::int64_t n, const SgdSettings& settings, const StepScalars* scalars, void* w_, const void* g_,
         void* m_) {
  T* w = static_cast<T*>(w_);
  const T* g = static_cast<const T*>(g_);
  T* m = static_cast<T*>(m_);
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
void adam(Stream, std::int64_t n, const AdamSettings& settings, const StepScalars* scalars, void* w_, const void* g_,
          void* m_, void* v_) {
  T* w = static_cast<T*>(w_);
  const T* g = static_cast<const T*>(g_);
  T* m = static_cast<T*>(m_);
  T* v = static_cast<T*>(v_);
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
void add_sum_of_squares(Stream, std::int64_t n, const void* x, double* sum) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double value = static_cast<const T*>(x)[i];
    *sum += value * value;
  }
}

#define RETORT_INSTANTIATE(T)                                                                                     \
  template void sgd<T>(Stream, std::int64_t, const SgdSettings&, const StepScalars*, void*, const void*, void*);  \
  template void adam<T>(Stream, std::int64_t, const AdamSettings&, const StepScalars*, void*, const void*, void*, \
                        void*);                                                                                   \
  template void add_sum_of_squares<T>(Stream, std::int64_t, const void*, double*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::reference
