// Optimizer steps (contract: kernels/optimizer.h): many parameters in one launch. Their descriptors travel as a kernel
// argument; a block takes one piece of one parameter.
#include "kernels/optimizer.h"

#include <algorithm>

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kPiece = kThreads * 16;  ///< elements of a block
constexpr int kMaxParameters = 64;              ///< of a launch: all arguments fit 4 KiB

/// A ParameterStep in f32.
struct Parameter {
  std::int64_t n;
  float* w;
  const float* g;
  float *m, *v;
};

Parameter typed(const ParameterStep& step) {
  return {step.n, static_cast<float*>(step.w), static_cast<const float*>(step.g), static_cast<float*>(step.m),
          static_cast<float*>(step.v)};
}

struct Batch {
  Parameter parameters[kMaxParameters];
  int first_block[kMaxParameters + 1];  ///< of each parameter; the last entry is the number of blocks
  int count = 0, index = 0;             ///< index: of the first parameter among all
};

/// Cuts the parameters into launches, in order.
template <class F>
void each_batch(ParameterSteps parameters, const F& f) {
  for (std::size_t begin = 0; begin < parameters.size(); begin += kMaxParameters) {
    Batch batch;
    batch.index = static_cast<int>(begin);
    int blocks = 0;
    for (std::size_t i = begin; i < std::min(begin + kMaxParameters, parameters.size()); ++i) {
      batch.parameters[batch.count] = typed(parameters[i]);
      batch.first_block[batch.count++] = blocks;
      blocks += static_cast<int>((parameters[i].n + kPiece - 1) / kPiece);
    }
    batch.first_block[batch.count] = blocks;
    if (blocks > 0) f(batch, static_cast<unsigned>(blocks));
  }
}

int count_blocks(ParameterSteps parameters) {
  int blocks = 0;
  for (const ParameterStep& parameter : parameters) blocks += static_cast<int>((parameter.n + kPiece - 1) / kPiece);
  return blocks;
}

/// Calls f(parameter's place in the batch, element) for the calling thread's elements.
template <class F>
__device__ __forceinline__ void each_element(const Batch& batch, const F& f) {
  int low = 0, high = batch.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (batch.first_block[middle] <= static_cast<int>(blockIdx.x) ? low : high) = middle;
  }
  const std::int64_t begin = (static_cast<int>(blockIdx.x) - batch.first_block[low]) * kPiece;
  const std::int64_t n = batch.parameters[low].n;
  const std::int64_t end = begin + kPiece < n ? begin + kPiece : n;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) f(low, i);
}

__global__ void sgd_kernel(Batch batch, float momentum, float weight_decay, bool nesterov, const StepScalars* scalars) {
  const float lr = static_cast<float>(scalars->lr), scale = static_cast<float>(scalars->grad_scale);
  const bool first_step = scalars->step == 1;
  each_element(batch, [&](int k, std::int64_t i) {
    const Parameter p = batch.parameters[k];
    const float gradient = scale * p.g[i] + weight_decay * p.w[i];
    float step = gradient;
    if (momentum != 0) {
      const float velocity = first_step ? gradient : momentum * p.m[i] + gradient;
      p.m[i] = velocity;
      step = nesterov ? gradient + momentum * velocity : velocity;
    }
    p.w[i] -= lr * step;
  });
}

struct AdamNumbers {
  float beta1, beta2, rest1, rest2, eps, weight_decay;
  double decay1, decay2, shrink;  ///< the betas, and the decoupled weight decay, unrounded
};

__global__ void adam_kernel(Batch batch, AdamNumbers a, const StepScalars* scalars) {
  const double t = static_cast<double>(scalars->step);
  const float rate = static_cast<float>(scalars->lr / (1 - pow(a.decay1, t)));
  const float spread = static_cast<float>(1 / (1 - pow(a.decay2, t)));
  const float scale = static_cast<float>(scalars->grad_scale), shrink = static_cast<float>(scalars->lr * a.shrink);
  each_element(batch, [&](int k, std::int64_t i) {
    const Parameter p = batch.parameters[k];
    const float gradient = scale * p.g[i] + a.weight_decay * p.w[i];
    const float first = a.beta1 * p.m[i] + a.rest1 * gradient;
    const float second = a.beta2 * p.v[i] + a.rest2 * gradient * gradient;
    p.m[i] = first;
    p.v[i] = second;
    p.w[i] = (p.w[i] - shrink * p.w[i]) - rate * first / (sqrtf(second * spread) + a.eps);
  });
}

/// partial[block] = the sum of the squares of its piece.
__global__ void sum_of_squares(Batch batch, double* partial) {
  struct Shared {
    double sums[kThreads];
  };
  Shared& shared = dev::shared<Shared>();
  double sum = 0;
  each_element(batch, [&](int k, std::int64_t i) {
    const double value = batch.parameters[k].g[i];
    sum += value * value;
  });
  shared.sums[threadIdx.x] = sum;
  dev::syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kThreads; ++i) sum += shared.sums[i];
  partial[blockIdx.x] = sum;
}

__global__ void finish_clip(int blocks, const double* partial, double max_norm, StepScalars* scalars, double* norm) {
  struct Shared {
    double sums[kThreads];
  };
  Shared& shared = dev::shared<Shared>();
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kThreads) sum += partial[i];
  shared.sums[threadIdx.x] = sum;
  dev::syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kThreads; ++i) sum += shared.sums[i];
  const double found = sqrt(sum);
  *norm = found;
  scalars->grad_scale = found > max_norm ? max_norm / found : 1;
}

/// *latest = the maximum of (all - index) over the parameters with an element that is not finite: the first wins.
__global__ void search_not_finite(Batch batch, int all, int* latest) {
  bool bad = false;
  int parameter = 0;
  each_element(batch, [&](int k, std::int64_t i) {
    parameter = k;
    const float w = batch.parameters[k].w[i];
    bad = bad || !(fabsf(w) <= 3.402823466e38f);
  });
  if (bad) dev::atomic_max(latest, all - (batch.index + parameter));
}

__global__ void set_int(int value, int* target) { *target = value; }
__global__ void finish_search(int all, const int* latest, std::int32_t* index) {
  *index = *latest == 0 ? -1 : all - *latest;
}

std::size_t workspace_bytes(ParameterSteps parameters) {
  return static_cast<std::size_t>(count_blocks(parameters) + 1) * sizeof(double);
}

void sgd(Stream stream, ParameterSteps parameters, const SgdSettings& settings, const StepScalars* scalars) {
  each_batch(parameters, [&](const Batch& batch, unsigned blocks) {
    dev::launch("sgd", sgd_kernel, {{blocks}, {kThreads}}, stream, batch, static_cast<float>(settings.momentum),
                static_cast<float>(settings.weight_decay), settings.nesterov, scalars);
  });
}

void adam(Stream stream, ParameterSteps parameters, const AdamSettings& settings, const StepScalars* scalars) {
  const AdamNumbers numbers{.beta1 = static_cast<float>(settings.beta1),
                            .beta2 = static_cast<float>(settings.beta2),
                            .rest1 = static_cast<float>(1 - settings.beta1),
                            .rest2 = static_cast<float>(1 - settings.beta2),
                            .eps = static_cast<float>(settings.eps),
                            .weight_decay = static_cast<float>(settings.decoupled ? 0 : settings.weight_decay),
                            .decay1 = settings.beta1,
                            .decay2 = settings.beta2,
                            .shrink = settings.decoupled ? settings.weight_decay : 0};
  each_batch(parameters, [&](const Batch& batch, unsigned blocks) {
    dev::launch("adam", adam_kernel, {{blocks}, {kThreads}}, stream, batch, numbers, scalars);
  });
}

void clip(Stream stream, ParameterSteps parameters, double max_norm, StepScalars* scalars, double* norm,
          void* workspace) {
  double* const partial = static_cast<double*>(workspace);
  int done = 0;
  each_batch(parameters, [&](const Batch& batch, unsigned blocks) {
    dev::launch("sum_of_squares", sum_of_squares, {{blocks}, {kThreads}}, stream, batch, partial + done);
    done += static_cast<int>(blocks);
  });
  dev::launch("finish_clip", finish_clip, {{1}, {kThreads}}, stream, done, partial, max_norm, scalars, norm);
}

void find_not_finite(Stream stream, ParameterSteps parameters, std::int32_t* index, void* workspace) {
  int* const latest = static_cast<int*>(workspace);
  const int all = static_cast<int>(parameters.size());
  dev::launch("set_int", set_int, {{1}, {1}}, stream, 0, latest);
  each_batch(parameters, [&](const Batch& batch, unsigned blocks) {
    dev::launch("search_not_finite", search_not_finite, {{blocks}, {kThreads}}, stream, batch, all, latest);
  });
  dev::launch("finish_search", finish_search, {{1}, {1}}, stream, all, latest, index);
}

}  // namespace

OptimizerKernels optimizer() {
  return {
      .sgd = sgd, .adam = adam, .workspace_bytes = workspace_bytes, .clip = clip, .find_not_finite = find_not_finite};
}

}  // namespace retort::RETORT_BACKEND
