// Layer normalisation (contract: kernels/layer_norm.h): a warp a row up to 1024 channels, read once, else a block; the
// parameters' gradients by sums over columns.
#include "kernels/layer_norm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/rows.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

template <class T, class Kind>
__global__ void forward_kernel(std::int64_t rows, int channels, float eps, const T* x, const float* gamma,
                               const float* beta, T* y, float* mean, float* inv_std) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Row values(x + row * channels, channels);
  float sum = 0, squares = 0;
  values.each([&](int, float value) { sum += value; });
  const float centre = group.sum(sum) / float(channels);
  values.each([&](int, float value) { squares += (value - centre) * (value - centre); });
  const float r = 1 / sqrtf(group.sum(squares) / float(channels) + eps);
  values.map(y + row * channels, [&](int c, float value) { return (value - centre) * r * gamma[c] + beta[c]; });
  if (group.rank() == 0) {
    mean[row] = centre;
    inv_std[row] = r;
  }
}

template <class T, class Kind>
__global__ void backward_input_kernel(std::int64_t rows, int channels, const T* x, const float* gamma,
                                      const float* mean, const float* inv_std, const T* dy, T* dx) {
  using Row = typename Kind::Row;
  const auto group = make_group<typename Kind::Group>();
  const std::int64_t row = row_of_group<typename Kind::Group>();
  if (row >= rows) return;
  const Row values(x + row * channels, channels), gradients(dy + row * channels, channels);
  const float centre = mean[row], r = inv_std[row];
  float sum = 0, product = 0;
  values.each(
      [&](int c, float value, float d) {
        sum += d * gamma[c];
        product += d * gamma[c] * ((value - centre) * r);
      },
      gradients);
  const float average = group.sum(sum) / float(channels), slope = group.sum(product) / float(channels);
  values.map(
      dx + row * channels,
      [&](int c, float value, float d) { return r * (d * gamma[c] - average - (value - centre) * r * slope); },
      gradients);
}

/// dy h and dy.
template <class T>
struct ParameterGradients {
  using Sums = ColumnPair;
  const T *x, *dy;
  const float *mean, *inv_std;
  template <int kN>
  struct Columns {
    ParameterGradients of;
    __device__ Columns(const ParameterGradients& gradients, const ColumnPlace&) : of(gradients) {}
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      float values[kN], gradients[kN];
      widen<T>(dev::load<Packed<T, kN>>(of.x + place.at()), values);
      widen<T>(dev::load<Packed<T, kN>>(of.dy + place.at()), gradients);
      const float centre = of.mean[place.row], r = of.inv_std[place.row];
      for (int j = 0; j < kN; ++j) {
        sums[j].first += gradients[j] * ((values[j] - centre) * r);
        sums[j].second += gradients[j];
      }
    }
  };
};

__global__ void __launch_bounds__(kFinishThreads)
    finish_parameters(int chunks, std::int64_t channels, const ColumnPair* partial, float* dgamma, float* dbeta) {
  ColumnFinish finish;
  const std::int64_t c = finish.channel();
  const double product =
      finish.sum(chunks, channels, [&](int chunk) { return double{partial[chunk * channels + c].first}; });
  const double sum =
      finish.sum(chunks, channels, [&](int chunk) { return double{partial[chunk * channels + c].second}; });
  if (!finish.writes(channels)) return;
  dgamma[c] = static_cast<float>(product);
  dbeta[c] = static_cast<float>(sum);
}

template <class T>
bool wide(const LayerNormGeometry& g, const T* a, const T* b, const T* c) {
  return g.channels % kPack<T> == 0 && aligned16(a) && aligned16(b) && aligned16(c);
}

template <class T>
void forward(Stream stream, const LayerNormGeometry& g, const T* x, const float* gamma, const float* beta, T* y,
             float* mean, float* inv_std) {
  if (g.rows * g.channels == 0) return;
  with_rows<T>(g.channels, wide<T>(g, x, y, nullptr), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("layer_norm_forward", forward_kernel<T, Kind>, row_grid<typename Kind::Group>(g.rows), stream, g.rows,
                static_cast<int>(g.channels), static_cast<float>(g.eps), x, gamma, beta, y, mean, inv_std);
  });
}

template <class T>
void backward_input(Stream stream, const LayerNormGeometry& g, const T* x, const float* gamma, const float* mean,
                    const float* inv_std, const T* dy, T* dx) {
  if (g.rows * g.channels == 0) return;
  with_rows<T>(g.channels, wide<T>(g, x, dy, dx), [&](auto kind) {
    using Kind = decltype(kind);
    dev::launch("layer_norm_backward_input", backward_input_kernel<T, Kind>, row_grid<typename Kind::Group>(g.rows),
                stream, g.rows, static_cast<int>(g.channels), x, gamma, mean, inv_std, dy, dx);
  });
}

std::size_t backward_parameters_workspace_bytes(const LayerNormGeometry& g) {
  return column_sums_bytes(g.rows, g.channels);
}

template <class T>
void backward_parameters(Stream stream, const LayerNormGeometry& g, const T* x, const float* mean, const float* inv_std,
                         const T* dy, float* dgamma, float* dbeta, void* workspace) {
  auto* const partial = static_cast<ColumnPair*>(workspace);
  column_sums<kPack<T>>("layer_norm_parameters", stream, g.rows, g.channels, wide<T>(g, x, dy, nullptr),
                        ParameterGradients<T>{x, dy, mean, inv_std}, partial);
  dev::launch("layer_norm_parameters_finish", finish_parameters, finish_grid(g.channels), stream, column_chunks(g.rows),
              g.channels, partial, dgamma, dbeta);
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
template LayerNormKernels layer_norm<BFloat16>();

}  // namespace retort::RETORT_BACKEND
