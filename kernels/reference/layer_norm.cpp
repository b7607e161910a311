// The oracle's layer normalisation (contract: kernels/layer_norm.h), sums in double.
#include "kernels/layer_norm.h"

#include <cmath>

#include "kernels/entry.h"

namespace retort::reference {
namespace {

template <class T>
void forward(Stream, const LayerNormGeometry& g, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inv_std) {
  const auto channels = static_cast<double>(g.channels);
  for (std::int64_t row = 0; row < g.rows; ++row, x += g.channels, y += g.channels) {
    double sum = 0, squares = 0;
    for (std::int64_t c = 0; c < g.channels; ++c) sum += x[c];
    const double centre = sum / channels;
    for (std::int64_t c = 0; c < g.channels; ++c) squares += (x[c] - centre) * (x[c] - centre);
    const double r = 1 / std::sqrt(squares / channels + g.eps);
    for (std::int64_t c = 0; c < g.channels; ++c) y[c] = static_cast<T>((x[c] - centre) * r * gamma[c] + beta[c]);
    mean[row] = static_cast<T>(centre);
    inv_std[row] = static_cast<T>(r);
  }
}

template <class T>
void backward_input(Stream, const LayerNormGeometry& g, const T* x, const T* gamma, const T* mean, const T* inv_std,
                    const T* dy, T* dx) {
  const auto channels = static_cast<double>(g.channels);
  for (std::int64_t row = 0; row < g.rows; ++row, x += g.channels, dy += g.channels, dx += g.channels) {
    const double r = inv_std[row], centre = mean[row];
    double sum = 0, product = 0;
    for (std::int64_t c = 0; c < g.channels; ++c) {
      const double weighted = double{gamma[c]} * dy[c];
      sum += weighted;
      product += weighted * ((x[c] - centre) * r);
    }
    for (std::int64_t c = 0; c < g.channels; ++c) {
      const double weighted = double{gamma[c]} * dy[c];
      dx[c] = static_cast<T>(r * (weighted - sum / channels - (x[c] - centre) * r * product / channels));
    }
  }
}

std::size_t backward_parameters_workspace_bytes(const LayerNormGeometry&) { return 0; }

template <class T>
void backward_parameters(Stream, const LayerNormGeometry& g, const T* x, const T* mean, const T* inv_std, const T* dy,
                         T* dgamma, T* dbeta, void*) {
  for (std::int64_t c = 0; c < g.channels; ++c) {
    double sum = 0, product = 0;
    for (std::int64_t row = 0; row < g.rows; ++row) {
      const double d = dy[row * g.channels + c];
      sum += d;
      product += d * ((x[row * g.channels + c] - double{mean[row]}) * inv_std[row]);
    }
    dgamma[c] = static_cast<T>(product);
    dbeta[c] = static_cast<T>(sum);
  }
}

}  // namespace

template <class T>
LayerNormKernels layer_norm() {
  return {.forward = entry<forward<T>>,
          .backward_input = entry<backward_input<T>>,
          .backward_parameters_workspace_bytes = backward_parameters_workspace_bytes,
          .backward_parameters = entry<backward_parameters<T>>};
}
template LayerNormKernels layer_norm<float>();
template LayerNormKernels layer_norm<double>();

}  // namespace retort::reference
