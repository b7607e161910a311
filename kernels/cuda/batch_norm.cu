// Batch normalisation (contract: kernels/batch_norm.h).
//
// Training reads x twice: once for the statistics, once to apply them with residual and ReLU. Sums of squares are taken
// about each chunk's first row and merged by Chan's formula in double (Chan, Golub & LeVeque 1983), so that a large
// mean costs no digits.
#include "kernels/batch_norm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/common.h"
#include "kernels/entry.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

/// A BatchNormForward of T.
template <class T>
struct Forward {
  const T* x;
  const float *gamma, *beta;
  const T* residual;
  bool relu;
  T* y;
};

template <class T>
Forward<T> typed(const BatchNormForward& f) {
  return {.x = static_cast<const T*>(f.x),
          .gamma = static_cast<const float*>(f.gamma),
          .beta = static_cast<const float*>(f.beta),
          .residual = static_cast<const T*>(f.residual),
          .relu = f.relu,
          .y = static_cast<T*>(f.y)};
}

/// A BatchNormBackward of T.
template <class T>
struct Backward {
  const T *x, *y, *dy;
  const float *gamma, *beta, *mean, *inv_std;
  bool relu;
  T* dx;
  float *dgamma, *dbeta;
  T* dresidual;
};

template <class T>
Backward<T> typed(const BatchNormBackward& b) {
  return {.x = static_cast<const T*>(b.x),
          .y = static_cast<const T*>(b.y),
          .dy = static_cast<const T*>(b.dy),
          .gamma = static_cast<const float*>(b.gamma),
          .beta = static_cast<const float*>(b.beta),
          .mean = static_cast<const float*>(b.mean),
          .inv_std = static_cast<const float*>(b.inv_std),
          .relu = b.relu,
          .dx = static_cast<T*>(b.dx),
          .dgamma = static_cast<float*>(b.dgamma),
          .dbeta = static_cast<float*>(b.dbeta),
          .dresidual = static_cast<T*>(b.dresidual)};
}

/// What a training step's statistics go to, [channels] each.
struct Statistics {
  float *mean, *inv_std, *running_mean, *running_var;
};

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
                      const ColumnPair* partial, const T* x, double momentum, double eps, Statistics out) {
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
  out.mean[c] = static_cast<float>(mean);
  out.inv_std[c] = static_cast<float>(1 / sqrt(squares / all + eps));
  out.running_mean[c] = static_cast<float>((1 - momentum) * out.running_mean[c] + momentum * mean);
  out.running_var[c] =
      static_cast<float>((1 - momentum) * out.running_var[c] + momentum * squares / (rows > 1 ? all - 1 : 1));
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
__global__ void apply(std::int64_t packs, std::int64_t channels, Forward<T> f, const float* mean,
                      const float* inv_std) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x, per_row = channels / kN;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const std::int64_t c = i % per_row * kN;
    const auto in = dev::load<Pack<T, kN>>(f.x + i * kN);
    Pack<T, kN> out, residual{};
    if (f.residual) residual = dev::load<Pack<T, kN>>(f.residual + i * kN);
    for (int j = 0; j < kN; ++j) {
      float value = normalized(float(in.v[j]), f.gamma[c + j], f.beta[c + j], mean[c + j], inv_std[c + j]);
      if (f.residual) value += float(residual.v[j]);
      out.v[j] = T(f.relu && value < 0 ? 0 : value);
    }
    dev::store(f.y + i * kN, out);
  }
}

/// dz and dz * xh: dz is the gradient that arrives before the activation, xh the normalised x. The activation's sign is
/// y's or, where y is null, follows from x.
template <class T>
struct Gradients {
  using Sums = ColumnPair;
  Backward<T> b;
  template <int kN>
  __device__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
    const std::int64_t at = place.at(), c = place.channel;
    const auto in = dev::load<Pack<T, kN>>(b.x + at), gradient = dev::load<Pack<T, kN>>(b.dy + at);
    Pack<T, kN> out{};
    if (b.relu && b.y) out = dev::load<Pack<T, kN>>(b.y + at);
    for (int j = 0; j < kN; ++j) {
      const float value =
          b.y ? float(out.v[j])
              : normalized(float(in.v[j]), b.gamma[c + j], b.beta[c + j], b.mean[c + j], b.inv_std[c + j]);
      const float dz = b.relu && !(value > 0) ? 0 : float(gradient.v[j]);
      sums[j].first += dz;
      sums[j].second += dz * ((float(in.v[j]) - b.mean[c + j]) * b.inv_std[c + j]);
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

/// dx and dresidual. train: mean and inv_std were functions of x, and the gradient runs through them too.
template <class T, int kN>
__global__ void apply_gradients(std::int64_t packs, std::int64_t rows, std::int64_t channels, Backward<T> b,
                                const ColumnPair* sums, bool train) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x, per_row = channels / kN;
  const float share = 1 / static_cast<float>(rows);
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const std::int64_t c = i % per_row * kN;
    auto dz = dev::load<Pack<T, kN>>(b.dy + i * kN);
    const auto in = dev::load<Pack<T, kN>>(b.x + i * kN);
    if (b.relu) {
      Pack<T, kN> out{};
      if (b.y) out = dev::load<Pack<T, kN>>(b.y + i * kN);
      for (int j = 0; j < kN; ++j) {
        const float value =
            b.y ? float(out.v[j])
                : normalized(float(in.v[j]), b.gamma[c + j], b.beta[c + j], b.mean[c + j], b.inv_std[c + j]);
        if (!(value > 0)) dz.v[j] = T(0.0f);
      }
    }
    if (b.dresidual) dev::store(b.dresidual + i * kN, dz);
    if (!b.dx) continue;
    Pack<T, kN> result;
    for (int j = 0; j < kN; ++j) {
      float value = float(dz.v[j]);
      if (train) {
        const float xh = (float(in.v[j]) - b.mean[c + j]) * b.inv_std[c + j];
        value -= (sums[c + j].first + xh * sums[c + j].second) * share;
      }
      result.v[j] = T(b.gamma[c + j] * b.inv_std[c + j] * value);
    }
    dev::store(b.dx + i * kN, result);
  }
}

template <class T>
void launch_apply(Stream stream, const BatchNormGeometry& g, const Forward<T>& f, const float* mean,
                  const float* inv_std) {
  const bool wide = g.channels % kPack<T> == 0 && aligned16(f.x) && aligned16(f.y) && aligned16(f.residual);
  const std::int64_t packs = g.rows * g.channels / (wide ? kPack<T> : 1);
  dev::launch("batch_norm_apply", wide ? apply<T, kPack<T>> : apply<T, 1>, {{blocks_for(packs, kThreads)}, {kThreads}},
              stream, packs, g.channels, f, mean, inv_std);
}

std::size_t workspace_bytes(const BatchNormGeometry& g) {
  return static_cast<std::size_t>(g.channels) * sizeof(ColumnPair) + column_sums_bytes(g.rows, g.channels);
}

template <class T>
void batch_norm_forward_train(Stream stream, const BatchNormGeometry& g, const BatchNormForward& arguments,
                              double momentum, float* mean, float* inv_std, float* running_mean, float* running_var,
                              void* workspace) {
  const auto f = typed<T>(arguments);
  auto* const partial = static_cast<ColumnPair*>(workspace);
  column_sums<kPack<T>>("batch_norm_statistics", stream, g.rows, g.channels,
                        g.channels % kPack<T> == 0 && aligned16(f.x), Shifted<T>{f.x}, partial);
  dev::launch("batch_norm_statistics_finish", finish_statistics<T>, finish_grid(g.channels), stream, g.rows, g.channels,
              chunk_rows(g.rows), column_chunks(g.rows), partial, f.x, momentum, arguments.eps,
              Statistics{mean, inv_std, running_mean, running_var});
  launch_apply(stream, g, f, mean, inv_std);
}

template <class T>
void batch_norm_forward_eval(Stream stream, const BatchNormGeometry& g, const BatchNormForward& arguments,
                             const float* running_mean, const float* running_var, float* mean, float* inv_std,
                             void* workspace) {
  auto* const scratch = static_cast<float*>(workspace);
  if (!mean) mean = scratch;
  if (!inv_std) inv_std = scratch + g.channels;
  dev::launch("batch_norm_running", use_running_statistics, {{blocks_for(g.channels, kThreads)}, {kThreads}}, stream,
              g.channels, running_mean, running_var, arguments.eps, mean, inv_std);
  launch_apply(stream, g, typed<T>(arguments), mean, inv_std);
}

void batch_norm_fold(Stream stream, std::int64_t channels, const float* gamma, const float* beta,
                     const float* running_mean, const float* running_var, double eps, const float* bias, float* scale,
                     float* shift) {
  dev::launch("batch_norm_fold", fold, {{blocks_for(channels, kThreads)}, {kThreads}}, stream, channels, gamma, beta,
              running_mean, running_var, eps, bias, scale, shift);
}

template <class T>
void batch_norm_apply(Stream stream, const BatchNormGeometry& g, const BatchNormForward& arguments, const float* mean,
                      const float* inv_std, void*) {
  launch_apply(stream, g, typed<T>(arguments), mean, inv_std);
}

template <class T, bool kTrain>
void batch_norm_backward(Stream stream, const BatchNormGeometry& g, const BatchNormBackward& arguments,
                         void* workspace) {
  const auto b = typed<T>(arguments);
  auto* const sums = static_cast<ColumnPair*>(workspace);
  auto* const partial = sums + g.channels;
  const bool by_packs = g.channels % kPack<T> == 0 && aligned16(b.x) && aligned16(b.y) && aligned16(b.dy);
  if (b.dgamma || b.dbeta || (kTrain && b.dx)) {
    column_sums<kPack<T>>("batch_norm_gradients", stream, g.rows, g.channels, by_packs, Gradients<T>{b}, partial);
    dev::launch("batch_norm_gradients_finish", finish_gradients, finish_grid(g.channels), stream, g.channels,
                column_chunks(g.rows), partial, sums, b.dbeta, b.dgamma);
  }
  if (!b.dx && !b.dresidual) return;
  const bool wide = by_packs && aligned16(b.dx) && aligned16(b.dresidual);
  const std::int64_t packs = g.rows * g.channels / (wide ? kPack<T> : 1);
  dev::launch("batch_norm_apply_gradients", wide ? apply_gradients<T, kPack<T>> : apply_gradients<T, 1>,
              {{blocks_for(packs, kThreads)}, {kThreads}}, stream, packs, g.rows, g.channels, b, sums, kTrain);
}

}  // namespace

template <class T>
BatchNormKernels batch_norm() {
  return {.workspace_bytes = workspace_bytes,
          .forward_train = entry<batch_norm_forward_train<T>>,
          .forward_eval = entry<batch_norm_forward_eval<T>>,
          .fold = entry<batch_norm_fold>,
          .apply = entry<batch_norm_apply<T>>,
          .backward_train = batch_norm_backward<T, true>,
          .backward_eval = batch_norm_backward<T, false>};
}
template BatchNormKernels batch_norm<float>();
template BatchNormKernels batch_norm<BFloat16>();

}  // namespace retort::RETORT_BACKEND
