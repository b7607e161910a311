// The oracle's batch normalisation (contract: kernels/batch_norm.h): two passes for the statistics, all sums in double.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

/// A BatchNormForward of T.
template <class T>
struct Forward {
  const T *x, *gamma, *beta, *residual;
  bool relu;
  double eps;
  T* y;
  explicit Forward(const BatchNormForward& f)
      : x(static_cast<const T*>(f.x)),
        gamma(static_cast<const T*>(f.gamma)),
        beta(static_cast<const T*>(f.beta)),
        residual(static_cast<const T*>(f.residual)),
        relu(f.relu),
        eps(f.eps),
        y(static_cast<T*>(f.y)) {}
};

/// A BatchNormBackward of T.
template <class T>
struct Backward {
  const T *x, *y, *dy, *gamma, *beta, *mean, *inv_std;
  bool relu;
  T *dx, *dgamma, *dbeta, *dresidual;
  explicit Backward(const BatchNormBackward& b)
      : x(static_cast<const T*>(b.x)),
        y(static_cast<const T*>(b.y)),
        dy(static_cast<const T*>(b.dy)),
        gamma(static_cast<const T*>(b.gamma)),
        beta(static_cast<const T*>(b.beta)),
        mean(static_cast<const T*>(b.mean)),
        inv_std(static_cast<const T*>(b.inv_std)),
        relu(b.relu),
        dx(static_cast<T*>(b.dx)),
        dgamma(static_cast<T*>(b.dgamma)),
        dbeta(static_cast<T*>(b.dbeta)),
        dresidual(static_cast<T*>(b.dresidual)) {}
};

double normalized_and_scaled(double gamma, double x, double mean, double inv_std, double beta) {
  return gamma * (x - mean) * inv_std + beta;
}

/// y of channel c, given that channel's statistics.
template <class T>
void normalize(const BatchNormGeometry& g, const Forward<T>& f, std::int64_t c, double mean, double inv_std) {
  const double gamma = f.gamma[c], beta = f.beta[c];
  for (std::int64_t row = 0; row < g.rows; ++row) {
    const std::int64_t i = row * g.channels + c;
    const double value = normalized_and_scaled(gamma, f.x[i], mean, inv_std, beta) + (f.residual ? f.residual[i] : 0);
    f.y[i] = static_cast<T>(f.relu && value < 0 ? 0 : value);
  }
}

std::size_t workspace_bytes(const BatchNormGeometry&) { return 0; }

template <class T>
void forward_train(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, double momentum, T* mean_out,
                   T* inv_std_out, T* running_mean, T* running_var, void*) {
  const Forward<T> f(arguments);
  const double rows = static_cast<double>(g.rows);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    double mean = 0, squares = 0;
    for (std::int64_t row = 0; row < g.rows; ++row) mean += f.x[row * g.channels + c];
    mean /= rows;
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const double centred = f.x[row * g.channels + c] - mean;
      squares += centred * centred;
    }
    mean_out[c] = static_cast<T>(mean);
    inv_std_out[c] = static_cast<T>(1 / std::sqrt(squares / rows + f.eps));
    normalize(g, f, c, mean_out[c], inv_std_out[c]);
    // One row has no unbiased variance; it counts as 0.
    const double unbiased = squares / std::max(1.0, rows - 1);
    running_mean[c] = static_cast<T>((1 - momentum) * running_mean[c] + momentum * mean);
    running_var[c] = static_cast<T>((1 - momentum) * running_var[c] + momentum * unbiased);
  }
}

template <class T>
void forward_eval(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, const T* running_mean,
                  const T* running_var, T* mean, T* inv_std, void*) {
  const Forward<T> f(arguments);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const auto scale = static_cast<T>(1 / std::sqrt(running_var[c] + f.eps));
    normalize(g, f, c, running_mean[c], scale);
    if (mean) mean[c] = running_mean[c];
    if (inv_std) inv_std[c] = scale;
  }
}

template <class T>
void fold(Stream, std::int64_t channels, const T* gamma, const T* beta, const T* running_mean, const T* running_var,
          double eps, const T* bias, T* scale, T* shift) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const double slope = gamma[c] / std::sqrt(running_var[c] + eps);
    const double before = bias ? bias[c] : 0, offset = before - running_mean[c];
    scale[c] = static_cast<T>(slope);
    shift[c] = static_cast<T>(beta[c] + offset * slope);
  }
}

template <class T>
void apply(Stream, const BatchNormGeometry& g, const BatchNormForward& arguments, const T* mean, const T* inv_std,
           void*) {
  const Forward<T> f(arguments);
  for (std::int64_t c = 0; c < g.channels; ++c) normalize(g, f, c, mean[c], inv_std[c]);
}

template <class T, bool kTrain>
void backward(Stream, const BatchNormGeometry& g, const BatchNormBackward& arguments, void*) {
  const Backward<T> b(arguments);
  for (std::int64_t c = 0; c < g.channels; ++c) {
    const double gamma = b.gamma[c], beta = b.beta[c], mean = b.mean[c], inv_std = b.inv_std[c];
    // x normalised, y, and the gradient that arrives before the activation.
    const auto normalized = [&](std::int64_t i) { return (b.x[i] - mean) * inv_std; };
    const auto output = [&](std::int64_t i) {
      return b.y ? double{b.y[i]} : normalized_and_scaled(gamma, b.x[i], mean, inv_std, beta);
    };
    const auto gradient = [&](std::int64_t i) { return b.relu && !(output(i) > 0) ? 0.0 : double{b.dy[i]}; };
    double dgamma = 0, dbeta = 0;
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const std::int64_t i = row * g.channels + c;
      dgamma += gradient(i) * normalized(i);
      dbeta += gradient(i);
    }
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const std::int64_t i = row * g.channels + c;
      const double through_statistics = kTrain ? (dbeta + normalized(i) * dgamma) / static_cast<double>(g.rows) : 0;
      const double upstream = gradient(i);
      if (b.dx) b.dx[i] = static_cast<T>(gamma * inv_std * (upstream - through_statistics));
      if (b.dresidual) b.dresidual[i] = static_cast<T>(upstream);
    }
    if (b.dgamma) b.dgamma[c] = static_cast<T>(dgamma);
    if (b.dbeta) b.dbeta[c] = static_cast<T>(dbeta);
  }
}

}  // namespace

template <class T>
BatchNormKernels batch_norm() {
  return {.workspace_bytes = workspace_bytes,
          .forward_train = entry<forward_train<T>>,
          .forward_eval = entry<forward_eval<T>>,
          .fold = entry<fold<T>>,
          .apply = entry<apply<T>>,
          .backward_train = backward<T, true>,
          .backward_eval = backward<T, false>};
}
template BatchNormKernels batch_norm<float>();
template BatchNormKernels batch_norm<double>();

}  // namespace retort::reference
