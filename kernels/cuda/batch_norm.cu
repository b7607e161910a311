// Batch normalisation (contract: kernels/batch_norm.h).
//
// Training reads x twice: once for the statistics, once to apply them with residual and ReLU. Sums of squares are taken
// about each chunk's first row and merged by Chan's formula in double (Chan, Golub & LeVeque 1983), so that a large
// mean costs no digits.
#include "kernels/cuda/batch_norm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

/// x - pivot and its square.
template <class T>
struct Shifted {
  using Sums = ColumnPair;
  const T* x;
  template <int kN>
  __device__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
    const auto values = dev::load<Pack<T, kN>>(x + place.at()), pivots = dev::load<Pack<T, kN>>(x + place.pivot());
    for (int j = 0; j < kN; ++j) {
      const float d = float(values.v[j]) - float(pivots.v[j]);
      sums[j].first += d;
      sums[j].second += d * d;
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kFinishThreads)
    finish_statistics(std::int64_t rows, std::int64_t channels, std::int64_t per_chunk, int chunks,
                      const ColumnPair* partial, const T* x, double momentum, double eps, float* mean_out,
                      float* inv_std_out, float* running_mean, float* running_var) {
  ColumnFinish finish;
  const std::int64_t c = finish.channel();
  const auto count = [&](int chunk) {
    const std::int64_t first = chunk * per_chunk;
    return static_cast<double>(first + per_chunk < rows ? per_chunk : rows - first);
  };
  const auto mean_of = [&](int chunk) {
    return double{float(x[chunk * per_chunk * channels + c])} +
           double{partial[chunk * channels + c].first} / count(chunk);
  };
  const double all = static_cast<double>(rows);
  const double mean = finish.sum(chunks, channels, [&](int chunk) { return count(chunk) * mean_of(chunk); }) / all;
  // Within chunks, and of the chunks' means about the mean.
  double squares = finish.sum(chunks, channels, [&](int chunk) {
    const ColumnPair sums = partial[chunk * channels + c];
    const double delta = mean_of(chunk) - mean;
    return double{sums.second} - double{sums.first} * double{sums.first} / count(chunk) + delta * delta * count(chunk);
  });
  if (!finish.writes(channels)) return;
  squares = squares < 0 ? 0 : squares;  // NaN stays
  mean_out[c] = static_cast<float>(mean);
  inv_std_out[c] = static_cast<float>(1 / sqrt(squares / all + eps));
  running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * mean);
  running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (rows > 1 ? all - 1 : 1));
}

__global__ void use_running_statistics(std::int64_t channels, const float* running_mean, const float* running_var,
                                       double eps, float* mean, float* inv_std) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  mean[c] = running_mean[c];
  inv_std[c] = static_cast<float>(1 / sqrt(double{running_var[c]} + eps));
}

__global__ void fold(std::int64_t channels, const float* gamma, const float* beta, const float* running_mean,
                     const float* running_var, double eps, const float* bias, float* scale, float* shift) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const double slope = gamma[c] / sqrt(double{running_var[c]} + eps);
  const double offset = (bias ? double{bias[c]} : 0) - double{running_mean[c]};
  scale[c] = static_cast<float>(slope);
  shift[c] = static_cast<float>(double{beta[c]} + offset * slope);
}

/// What the forward pass gave before residual and activation.
__device__ inline float normalized(float x, float gamma, float beta, float mean, float inv_std) {
  return gamma * inv_std * (x - mean) + beta;
}

/// y = act(gamma (x - mean) inv_std + beta + residual), kN channels at a time.
template <class T, int kN>
__global__ void apply(std::int64_t packs, std::int64_t channels, const T* x, const float* gamma, const float* beta,
                      const float* mean, const float* inv_std, const T* residual, bool relu, T* y) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x, per_row = channels / kN;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const std::int64_t c = i % per_row * kN;
    const auto in = dev::load<Pack<T, kN>>(x + i * kN);
    Pack<T, kN> out, more{};
    if (residual) more = dev::load<Pack<T, kN>>(residual + i * kN);
    for (int j = 0; j < kN; ++j) {
      float value = normalized(float(in.v[j]), gamma[c + j], beta[c + j], mean[c + j], inv_std[c + j]);
      if (residual) value += float(more.v[j]);
      out.v[j] = T(relu && value < 0 ? 0 : value);
    }
    dev::store(y + i * kN, out);
  }
}

/// dz and dz * xh, dz being what arrives before the activation and xh the normalised x. The activation's sign is y's
/// or, where y is null, follows from x.
template <class T>
struct Gradients {
  using Sums = ColumnPair;
  const T *x, *y, *dy;
  const float *gamma, *beta, *mean, *inv_std;
  bool relu;
  template <int kN>
  __device__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
    const std::int64_t at = place.at(), c = place.channel;
    const auto in = dev::load<Pack<T, kN>>(x + at), gradient = dev::load<Pack<T, kN>>(dy + at);
    Pack<T, kN> out{};
    if (relu && y) out = dev::load<Pack<T, kN>>(y + at);
    for (int j = 0; j < kN; ++j) {
      const float value =
          y ? float(out.v[j]) : normalized(float(in.v[j]), gamma[c + j], beta[c + j], mean[c + j], inv_std[c + j]);
      const float dz = relu && !(value > 0) ? 0 : float(gradient.v[j]);
      sums[j].first += dz;
      sums[j].second += dz * ((float(in.v[j]) - mean[c + j]) * inv_std[c + j]);
    }
  }
};

/// sums[c] = (dbeta, dgamma); both are also written where they are wanted.
__global__ void __launch_bounds__(kFinishThreads)
    finish_gradients(std::int64_t channels, int chunks, const ColumnPair* partial, ColumnPair* sums, float* dbeta,
                     float* dgamma) {
  ColumnFinish finish;
  const std::int64_t c = finish.channel();
  const double first = finish.sum(chunks, channels, [&](int i) { return double{partial[i * channels + c].first}; });
  const double second = finish.sum(chunks, channels, [&](int i) { return double{partial[i * channels + c].second}; });
  if (!finish.writes(channels)) return;
  sums[c] = {static_cast<float>(first), static_cast<float>(second)};
  if (dbeta) dbeta[c] = static_cast<float>(first);
  if (dgamma) dgamma[c] = static_cast<float>(second);
}

template <class T, int kN>
__global__ void apply_gradients(std::int64_t packs, std::int64_t rows, std::int64_t channels, const T* x, const T* y,
                                const T* dy, const float* gamma, const float* beta, const float* mean,
                                const float* inv_std, const ColumnPair* sums, bool relu, bool train, T* dx,
                                T* dresidual) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x, per_row = channels / kN;
  const float share = 1 / static_cast<float>(rows);
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const std::int64_t c = i % per_row * kN;
    auto dz = dev::load<Pack<T, kN>>(dy + i * kN);
    const auto in = dev::load<Pack<T, kN>>(x + i * kN);
    if (relu) {
      Pack<T, kN> out{};
      if (y) out = dev::load<Pack<T, kN>>(y + i * kN);
      for (int j = 0; j < kN; ++j) {
        const float value =
            y ? float(out.v[j]) : normalized(float(in.v[j]), gamma[c + j], beta[c + j], mean[c + j], inv_std[c + j]);
        if (!(value > 0)) dz.v[j] = T(0.0f);
      }
    }
    if (dresidual) dev::store(dresidual + i * kN, dz);
    if (!dx) continue;
    Pack<T, kN> result;
    for (int j = 0; j < kN; ++j) {
      float value = float(dz.v[j]);
      if (train) {
        const float xh = (float(in.v[j]) - mean[c + j]) * inv_std[c + j];
        value -= (sums[c + j].first + xh * sums[c + j].second) * share;
      }
      result.v[j] = T(gamma[c + j] * inv_std[c + j] * value);
    }
    dev::store(dx + i * kN, result);
  }
}

template <class T>
void launch_apply(Stream stream, const BatchNormGeometry& g, const BatchNormForward& f, const float* mean,
                  const float* inv_std) {
  const bool wide = g.channels % kPack<T> == 0 && aligned16(f.x) && aligned16(f.y) && aligned16(f.residual);
  const std::int64_t packs = g.rows * g.channels / (wide ? kPack<T> : 1);
  dev::launch("batch_norm_apply", wide ? apply<T, kPack<T>> : apply<T, 1>, {{blocks_for(packs, kThreads)}, {kThreads}},
              stream, packs, g.channels, static_cast<const T*>(f.x), static_cast<const float*>(f.gamma),
              static_cast<const float*>(f.beta), mean, inv_std, static_cast<const T*>(f.residual), f.relu,
              static_cast<T*>(f.y));
}

template <class T>
void backward(Stream stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace, bool train) {
  auto* const sums = static_cast<ColumnPair*>(workspace);
  auto* const partial = sums + g.channels;
  const T *x = static_cast<const T*>(b.x), *y = static_cast<const T*>(b.y), *dy = static_cast<const T*>(b.dy);
  const auto *mean = static_cast<const float*>(b.mean), *inv_std = static_cast<const float*>(b.inv_std);
  const auto *gamma = static_cast<const float*>(b.gamma), *beta = static_cast<const float*>(b.beta);
  const bool by_packs = g.channels % kPack<T> == 0 && aligned16(x) && aligned16(y) && aligned16(dy);
  if (b.dgamma || b.dbeta || (train && b.dx)) {
    column_sums<kPack<T>>("batch_norm_gradients", stream, g.rows, g.channels, by_packs,
                          Gradients<T>{x, y, dy, gamma, beta, mean, inv_std, b.relu}, partial);
    dev::launch("batch_norm_gradients_finish", finish_gradients, finish_grid(g.channels), stream, g.channels,
                column_chunks(g.rows), partial, sums, static_cast<float*>(b.dbeta), static_cast<float*>(b.dgamma));
  }
  if (!b.dx && !b.dresidual) return;
  const bool wide = by_packs && aligned16(b.dx) && aligned16(b.dresidual);
  const std::int64_t packs = g.rows * g.channels / (wide ? kPack<T> : 1);
  dev::launch("batch_norm_apply_gradients", wide ? apply_gradients<T, kPack<T>> : apply_gradients<T, 1>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, g.rows, g.channels, x, y, dy, gamma, beta,
              mean, inv_std, sums, b.relu, train, static_cast<T*>(b.dx), static_cast<T*>(b.dresidual));
}

}  // namespace

std::size_t batch_norm_workspace_bytes(const BatchNormGeometry& g) {
  return static_cast<std::size_t>(g.channels) * sizeof(ColumnPair) + column_sums_bytes(g.rows, g.channels);
}

template <class T>
void batch_norm_forward_train(Stream stream, const BatchNormGeometry& g, const BatchNormForward& f, double momentum,
                              void* mean, void* inv_std, void* running_mean, void* running_var, void* workspace) {
  auto* const partial = static_cast<ColumnPair*>(workspace);
  const T* const x = static_cast<const T*>(f.x);
  column_sums<kPack<T>>("batch_norm_statistics", stream, g.rows, g.channels, g.channels % kPack<T> == 0 && aligned16(x),
                        Shifted<T>{x}, partial);
  dev::launch("batch_norm_statistics_finish", finish_statistics<T>, finish_grid(g.channels), stream, g.rows, g.channels,
              chunk_rows(g.rows), column_chunks(g.rows), partial, x, momentum, f.eps, static_cast<float*>(mean),
              static_cast<float*>(inv_std), static_cast<float*>(running_mean), static_cast<float*>(running_var));
  launch_apply<T>(stream, g, f, static_cast<const float*>(mean), static_cast<const float*>(inv_std));
}

template <class T>
void batch_norm_forward_eval(Stream stream, const BatchNormGeometry& g, const BatchNormForward& f,
                             const void* running_mean, const void* running_var, void* mean, void* inv_std,
                             void* workspace) {
  auto* const own_mean = static_cast<float*>(mean ? mean : workspace);
  auto* const own_inv_std = inv_std ? static_cast<float*>(inv_std) : static_cast<float*>(workspace) + g.channels;
  dev::launch("batch_norm_running", use_running_statistics, {{blocks_for(g.channels, kThreads)}, {kThreads}}, stream,
              g.channels, static_cast<const float*>(running_mean), static_cast<const float*>(running_var), f.eps,
              own_mean, own_inv_std);
  launch_apply<T>(stream, g, f, own_mean, own_inv_std);
}

void batch_norm_fold(Stream stream, std::int64_t channels, const void* gamma, const void* beta,
                     const void* running_mean, const void* running_var, double eps, const void* bias, void* scale,
                     void* shift) {
  dev::launch("batch_norm_fold", fold, {{blocks_for(channels, kThreads)}, {kThreads}}, stream, channels,
              static_cast<const float*>(gamma), static_cast<const float*>(beta),
              static_cast<const float*>(running_mean), static_cast<const float*>(running_var), eps,
              static_cast<const float*>(bias), static_cast<float*>(scale), static_cast<float*>(shift));
}

template <class T>
void batch_norm_apply(Stream stream, const BatchNormGeometry& g, const BatchNormForward& f, const void* mean,
                      const void* inv_std, void*) {
  launch_apply<T>(stream, g, f, static_cast<const float*>(mean), static_cast<const float*>(inv_std));
}

template <class T>
void batch_norm_backward_train(Stream stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace) {
  backward<T>(stream, g, b, workspace, true);
}

template <class T>
void batch_norm_backward_eval(Stream stream, const BatchNormGeometry& g, const BatchNormBackward& b, void* workspace) {
  backward<T>(stream, g, b, workspace, false);
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

}  // namespace retort::RETORT_BACKEND
