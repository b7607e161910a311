// Batch normalisation (contract: kernels/batch_norm.h).
//
// Training reads x twice: once for the statistics, once to apply them with residual and ReLU. Sums of squares are taken
// about each chunk's first row and merged by Chan's formula in double (Chan, Golub & LeVeque 1983), so that a large
// mean costs no digits.
#include "kernels/batch_norm.h"

#include "kernels/cuda/channel_rows.h"
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

/// x - pivot and its square, the pivot being the chunk's first row.
template <class T>
struct Shifted {
  using Sums = ColumnPair;
  const T* x;
  template <int kN>
  struct Columns {
    const T* x;
    float pivots[kN];
    __device__ Columns(const Shifted& shifted, const ColumnPlace& first) : x(shifted.x) {
      widen<T>(dev::load<Packed<T, kN>>(x + first.at()), pivots);
    }
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      float values[kN];
      widen<T>(dev::load<Packed<T, kN>>(x + place.at()), values);
      for (int j = 0; j < kN; ++j) {
        const float d = values[j] - pivots[j];
        sums[j].first += d;
        sums[j].second += d * d;
      }
    }
  };
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

/// The normalisation of kN channels, y = scale (x - mean) + beta. The mean is taken off first: folded into beta it
/// would cost digits where it is large beside the deviation.
template <int kN>
struct Normalization {
  float mean[kN], inv_std[kN], scale[kN], beta[kN];
  __device__ __forceinline__ Normalization(std::int64_t channel, const float* gammas, const float* betas,
                                           const float* means, const float* inv_stds) {
    load_elements(means + channel, mean);
    load_elements(inv_stds + channel, inv_std);
    load_elements(gammas + channel, scale);
    load_elements(betas + channel, beta);
    for (int j = 0; j < kN; ++j) scale[j] *= inv_std[j];
  }
  __device__ __forceinline__ float operator()(int j, float x) const { return of_centred(j, x - mean[j]); }
  /// Of x - mean.
  __device__ __forceinline__ float of_centred(int j, float d) const { return fmaf(d, scale[j], beta[j]); }
};

/// y = act(gamma (x - mean) inv_std + beta + residual), kN channels at a time.
template <class T, int kN, bool kResidual>
__global__ void __launch_bounds__(kChannelThreads)
    apply(ChannelRows g, Forward<T> f, const float* mean, const float* inv_std) {
  const std::int64_t channel = first_channel(kN), first = first_element(g, channel);
  if (channel >= g.channels) return;
  const Normalization<kN> normalized(channel, f.gamma, f.beta, mean, inv_std);
  struct Inputs {
    Packed<T, kN> x, residual;
  };
  f.x += first;
  f.y += first;
  if constexpr (kResidual) f.residual += first;
  each_channel_row(
      g,
      [&](int at) {
        Inputs in{dev::load<Packed<T, kN>>(f.x + at), {}};
        if constexpr (kResidual) in.residual = dev::load<Packed<T, kN>>(f.residual + at);
        return in;
      },
      [&](int at, const Inputs& in) {
        float values[kN];
        widen<T>(in.x, values);
        for (int j = 0; j < kN; ++j) values[j] = normalized(j, values[j]);
        if constexpr (kResidual) {
          float residual[kN];
          widen<T>(in.residual, residual);
          for (int j = 0; j < kN; ++j) values[j] += residual[j];
        }
        dev::store(f.y + at, narrow<T>(values, f.relu));
      });
}

/// Where the sign of what the activation was given is seen: it lets dy pass where that is above 0.
enum class Sign : std::uint8_t { none, of_y, of_x };  ///< none: no activation

template <class T>
Sign sign_of(const Backward<T>& b) {
  return !b.relu ? Sign::none : b.y ? Sign::of_y : Sign::of_x;
}
/// Calls f(std::integral_constant<Sign>).
template <class T, class F>
void with_sign(const Backward<T>& b, const F& f) {
  switch (sign_of(b)) {
    case Sign::none: return f(std::integral_constant<Sign, Sign::none>{});
    case Sign::of_y: return f(std::integral_constant<Sign, Sign::of_y>{});
    case Sign::of_x: return f(std::integral_constant<Sign, Sign::of_x>{});
  }
}

/// What the gradients read of kN channels in a row.
template <class T, int kN, Sign kSign>
struct GradientInputs {
  Packed<T, kN> x, dy, y;
  __device__ __forceinline__ GradientInputs(const Backward<T>& b, std::int64_t at)
      : x(dev::load<Packed<T, kN>>(b.x + at)), dy(dev::load<Packed<T, kN>>(b.dy + at)), y{} {
    if constexpr (kSign == Sign::of_y) y = dev::load<Packed<T, kN>>(b.y + at);
  }
  /// d = x - mean, and dz, the gradient that arrives before the activation.
  __device__ __forceinline__ void unpack(const Normalization<kN>& normalized, float (&d)[kN], float (&dz)[kN]) const {
    widen<T>(x, d);
    widen<T>(dy, dz);
    for (int j = 0; j < kN; ++j) d[j] -= normalized.mean[j];
    if constexpr (kSign == Sign::of_y) {
      float values[kN];
      widen<T>(y, values);
      for (int j = 0; j < kN; ++j) dz[j] = values[j] > 0 ? dz[j] : 0;
    } else if constexpr (kSign == Sign::of_x) {
      for (int j = 0; j < kN; ++j) dz[j] = normalized.of_centred(j, d[j]) > 0 ? dz[j] : 0;
    }
  }
};

/// dz and dz * (x - mean).
template <class T, Sign kSign>
struct Gradients {
  using Sums = ColumnPair;
  Backward<T> b;
  template <int kN>
  struct Columns {
    Backward<T> b;
    Normalization<kN> normalized;
    __device__ Columns(const Gradients& gradients, const ColumnPlace& place)
        : b(gradients.b), normalized(place.channel, b.gamma, b.beta, b.mean, b.inv_std) {}
    __device__ __forceinline__ void add(const ColumnPlace& place, Sums (&sums)[kN]) const {
      float d[kN], dz[kN];
      GradientInputs<T, kN, kSign>(b, place.at()).unpack(normalized, d, dz);
      for (int j = 0; j < kN; ++j) {
        sums[j].first += dz[j];
        sums[j].second += dz[j] * d[j];
      }
    }
  };
};

/// sums[c] = (dbeta, dgamma); both are also written where they are wanted.
__global__ void __launch_bounds__(kFinishThreads)
    finish_gradients(std::int64_t channels, int chunks, const ColumnPair* partial, const float* inv_std,
                     ColumnPair* sums, float* dbeta, float* dgamma) {
  ColumnFinish finish;
  const std::int64_t c = finish.channel();
  const double first = finish.sum(chunks, channels, [&](int i) { return double{partial[i * channels + c].first}; });
  double second = finish.sum(chunks, channels, [&](int i) { return double{partial[i * channels + c].second}; });
  if (!finish.writes(channels)) return;
  second *= double{inv_std[c]};
  sums[c] = {static_cast<float>(first), static_cast<float>(second)};
  if (dbeta) dbeta[c] = static_cast<float>(first);
  if (dgamma) dgamma[c] = static_cast<float>(second);
}

/// dx and dresidual. kTrain: mean and inv_std were functions of x, and the gradient runs through them too:
///   dx = scale (dz - (dbeta + (x - mean) inv_std dgamma) / rows) = scale dz + slope (x - mean) + offset
template <class T, int kN, bool kTrain, Sign kSign>
__global__ void __launch_bounds__(kChannelThreads)
    apply_gradients(ChannelRows g, Backward<T> b, const ColumnPair* sums) {
  const std::int64_t channel = first_channel(kN), first = first_element(g, channel);
  if (channel >= g.channels) return;
  const Normalization<kN> normalized(channel, b.gamma, b.beta, b.mean, b.inv_std);
  float slope[kN], offset[kN];
  if constexpr (kTrain) {
    const float share = -1 / static_cast<float>(g.rows);
    for (int j = 0; j < kN; ++j) {
      const auto sum = dev::load<ColumnPair>(sums + channel + j);
      slope[j] = normalized.scale[j] * share * normalized.inv_std[j] * sum.second;
      offset[j] = normalized.scale[j] * share * sum.first;
    }
  }
  b.x += first;
  b.dy += first;
  if (kSign == Sign::of_y) b.y += first;
  using Inputs = GradientInputs<T, kN, kSign>;
  each_channel_row(
      g, [&](int at) { return Inputs(b, at); },
      [&](int at, const Inputs& in) {
        float d[kN], dz[kN];
        in.unpack(normalized, d, dz);
        if (b.dresidual) dev::store(b.dresidual + first + at, narrow<T>(dz));
        if (!b.dx) return;
        for (int j = 0; j < kN; ++j) {
          if constexpr (kTrain)
            dz[j] = fmaf(normalized.scale[j], dz[j], fmaf(slope[j], d[j], offset[j]));
          else
            dz[j] *= normalized.scale[j];
        }
        dev::store(b.dx + first + at, narrow<T>(dz));
      });
}

/// Channels a thread takes at once: a pack where their number and all pointers allow, else one.
template <class T, class... Pointers>
bool by_packs(const BatchNormGeometry& g, const Pointers*... pointers) {
  return g.channels % kPack<T> == 0 && (aligned16(pointers) && ...);
}

template <class T>
void launch_apply(Stream stream, const BatchNormGeometry& g, const Forward<T>& f, const float* mean,
                  const float* inv_std) {
  const bool wide = by_packs<T>(g, f.x, f.y, f.residual, f.gamma, f.beta, mean, inv_std);
  const ChannelLaunch launch(g.rows, g.channels, wide ? kPack<T> : 1);
  const auto kernel = f.residual ? (wide ? apply<T, kPack<T>, true> : apply<T, 1, true>)
                                 : (wide ? apply<T, kPack<T>, false> : apply<T, 1, false>);
  dev::launch("batch_norm_apply", kernel, launch.shape, stream, launch.rows, f, mean, inv_std);
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
  const bool reads_by_packs = by_packs<T>(g, b.x, b.y, b.dy, b.gamma, b.beta, b.mean, b.inv_std);
  if (b.dgamma || b.dbeta || (kTrain && b.dx)) {
    with_sign(b, [&](auto sign) {
      column_sums<kPack<T>>("batch_norm_gradients", stream, g.rows, g.channels, reads_by_packs,
                            Gradients<T, decltype(sign)::value>{b}, partial);
    });
    dev::launch("batch_norm_gradients_finish", finish_gradients, finish_grid(g.channels), stream, g.channels,
                column_chunks(g.rows), partial, b.inv_std, sums, b.dbeta, b.dgamma);
  }
  if (!b.dx && !b.dresidual) return;
  const bool wide = reads_by_packs && aligned16(b.dx) && aligned16(b.dresidual);
  const ChannelLaunch launch(g.rows, g.channels, wide ? kPack<T> : 1);
  with_sign(b, [&](auto sign) {
    constexpr Sign kSign = decltype(sign)::value;
    dev::launch("batch_norm_apply_gradients",
                wide ? apply_gradients<T, kPack<T>, kTrain, kSign> : apply_gradients<T, 1, kTrain, kSign>, launch.shape,
                stream, launch.rows, b, sums);
  });
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
