#include "kernels/reference/batch_norm.h"

#include <algorithm>
#include <cmath>

namespace retort::reference {
namespace {

double activation(double gamma, double x, double mean, double inv_std, double beta) {
  return gamma * (x - mean) * inv_std + beta;
}

/// y of channel c, given that channel's statistics.
template <class T>
void normalize(const BatchNormGeometry& g, const BatchNormForward& f, std::int64_t c, double mean, double inv_std) {
  const T* x = static_cast<const T*>(f.x);
  const T* residual = static_cast<const T*>(f.residual);
  T* y = static_cast<T*>(f.y);
  const double gamma = static_cast<const T*>(f.gamma)[c], beta = static_cast<const T*>(f.beta)[c];
  for (std::int64_t row = 0; row < g.rows; ++row) {
    const std::int64_t i = row * g.channels + c;
    const double value = activation(gamma, x[i], mean, inv_std, beta) + (residual ? residual[i] : 0);
    y[i] = static_cast<T>(f.relu && value < 0 ? 0 : value);
  }
}

template <class T>
void backward(const BatchNormGeometry& g, const BatchNormBackward& b, bool train) {
  const T* x = static_cast<const T*>(b.x);
  const T* y = static_cast<const T*>(b.y);
  const T* dy = static_cast<const T*>(b.dy);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const double gamma = static_cast<const T*>(b.gamma)[c], mean = static_cast<const T*>(b.mean)[c];
    const double inv_std = static_cast<const T*>(b.inv_std)[c], beta = static_cast<const T*>(b.beta)[c];
    // x normalised, y, and what arrives before the activation.
    const auto normalized = [&](std::int64_t i) { return (x[i] - mean) * inv_std; };
    const auto output = [&](std::int64_t i) { return y ? double{y[i]} : activation(gamma, x[i], mean, inv_std, beta); };
    const auto gradient = [&](std::int64_t i) { return b.relu && !(output(i) > 0) ? 0.0 : double{dy[i]}; };
    double dgamma = 0, dbeta = 0;
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const std::int64_t i = row * g.channels + c;
      dgamma += gradient(i) * normalized(i);
      dbeta += gradient(i);
    }
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const std::int64_t i = row * g.channels + c;
      const double through_statistics = train ? (dbeta + normalized(i) * dgamma) / static_cast<double>(g.rows) : 0;
      const double upstream = gradient(i);
      if (b.dx) static_cast<T*>(b.dx)[i] = static_cast<T>(gamma * inv_std * (upstream - through_statistics));
      if (b.dresidual) static_cast<T*>(b.dresidual)[i] = static_cast<T>(upstream);
    }
    if (b.dgamma) static_cast<T*>(b.dgamma)[c] = static_cast<T>(dgamma);
    if (b.dbeta) static_cast<T*>(b.dbeta)[c] = static_cast<T>(dbeta);
  }
}

}  // namespace

std::size_t batch_norm_workspace_bytes(const BatchNormGeometry&) { return 0; }

template <class T>
void batch_norm_forward_train(Stream, const BatchNormGeometry& g, const BatchNormForward& f, double momentum,
                              void* mean_, void* inv_std_, void* running_mean_, void* running_var_, void*) {
  const T* x = static_cast<const T*>(f.x);
  T* running_mean = static_cast<T*>(running_mean_);
  T* running_var = static_cast<T*>(running_var_);
  const double rows = static_cast<double>(g.rows);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    double mean = 0, squares = 0;
    for (std::int64_t row = 0; row < g.rows; ++row) mean += x[row * g.channels + c];
    mean /= rows;
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const double centred = x[row * g.channels + c] - mean;
      squares += centred * centred;
    }
    const double inv_std = 1 / std::sqrt(squares / rows + f.eps);
    static_cast<T*>(mean_)[c] = static_cast<T>(mean);
    static_cast<T*>(inv_std_)[c] = static_cast<T>(inv_std);
    normalize<T>(g, f, c, static_cast<T>(mean), static_cast<T>(inv_std));
    // One row has no unbiased variance; it counts as 0.
    const double unbiased = squares / std::max(1.0, rows - 1);
    running_mean[c] = static_cast<T>((1 - momentum) * running_mean[c] + momentum * mean);
    running_var[c] = static_cast<T>((1 - momentum) * running_var[c] + momentum * unbiased);
  }
}

template <class T>
void batch_norm_forward_eval(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* running_mean,
                             const void* running_var, void* mean, void* inv_std, void*) {
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const auto scale = static_cast<T>(1 / std::sqrt(static_cast<const T*>(running_var)[c] + f.eps));
    normalize<T>(g, f, c, static_cast<const T*>(running_mean)[c], scale);
    if (mean) static_cast<T*>(mean)[c] = static_cast<const T*>(running_mean)[c];
    if (inv_std) static_cast<T*>(inv_std)[c] = scale;
  }
}

template <class T>
void batch_norm_fold(Stream, std::int64_t channels, const void* gamma, const void* beta, const void* running_mean,
                     const void* running_var, double eps, const void* bias_, void* scale_, void* shift) {
  const T* bias = static_cast<const T*>(bias_);
  for (std::int64_t c = 0; c < channels; ++c) {
    const double scale = static_cast<const T*>(gamma)[c] / std::sqrt(static_cast<const T*>(running_var)[c] + eps);
    const double before = bias ? bias[c] : 0, offset = before - static_cast<const T*>(running_mean)[c];
    static_cast<T*>(scale_)[c] = static_cast<T>(scale);
    static_cast<T*>(shift)[c] = static_cast<T>(static_cast<const T*>(beta)[c] + offset * scale);
  }
}

template <class T>
void batch_norm_apply(Stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* mean,
                      const void* inv_std, void*) {
  for (std::int64_t c = 0; c < g.channels; ++c)
    normalize<T>(g, f, c, static_cast<const T*>(mean)[c], static_cast<const T*>(inv_std)[c]);
}

template <class T>
void batch_norm_backward_train(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void*) {
  backward<T>(g, b, true);
}

template <class T>
void batch_norm_backward_eval(Stream, const BatchNormGeometry& g, const BatchNormBackward& b, void*) {
  backward<T>(g, b, false);
}

#define RETORT_INSTANTIATE(T)                                                                                         \
  template void batch_norm_forward_train<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, double, void*, \
                                            void*, void*, void*, void*);                                              \
  template void batch_norm_forward_eval<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, const void*,    \
                                           const void*, void*, void*, void*);                                         \
  template void batch_norm_fold<T>(Stream, std::int64_t, const void*, const void*, const void*, const void*, double,  \
                                   const void*, void*, void*);                                                        \
  template void batch_norm_apply<T>(Stream, const BatchNormGeometry&, const BatchNormForward&, const void*,           \
                                    const void*, void*);                                                              \
  template void batch_norm_backward_train<T>(Stream, const BatchNormGeometry&, const BatchNormBackward&, void*);      \
  template void batch_norm_backward_eval<T>(Stream, const BatchNormGeometry&, const BatchNormBackward&, void*);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::reference
