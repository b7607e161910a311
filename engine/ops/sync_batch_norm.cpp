// All of it is made of batch norm's own kernels: gamma (x - mean) inv_std + beta is also how vectors of channels are
// multiplied and added.
#include "engine/ops/sync_batch_norm.h"

#include <cmath>

#include "engine/group/group.h"
#include "engine/ops/common.h"

namespace retort {
namespace {

Tensor constant(const Tensor& like, double value) {
  return Tensor::full(like.shape(), value, like.dtype(), like.device());
}

/// gamma (x - mean) inv_std + beta + residual, channel by channel; the residual may be empty.
Tensor normalized(const Tensor& x, const Tensor& mean, const Tensor& inv_std, const Tensor& gamma, const Tensor& beta,
                  const Tensor& residual = {}) {
  const BatchNormKernels& norm = kernels(x).batch_norm;
  const BatchNormGeometry g{x.count() / gamma.count(), gamma.count()};
  Tensor y = Tensor::empty_like(x, x.shape());
  const Workspace workspace(norm.workspace_bytes(g), x.device());
  norm.apply({}, g,
             {.x = x.raw(),
              .gamma = gamma.raw(),
              .beta = beta.raw(),
              .residual = residual.raw(),
              .relu = false,
              .eps = 0,  // apply does not read it
              .y = y.raw()},
             mean.raw(), inv_std.raw(), workspace.data());
  return y;
}

/// a (x - b) + c of vectors of channels.
Tensor combined(const Tensor& a, const Tensor& x, const Tensor& b, const Tensor& c) {
  return normalized(x, b, constant(x, 1), a, c);
}

/// a x
Tensor product(const Tensor& a, const Tensor& x) { return combined(a, x, constant(x, 0), constant(x, 0)); }

Tensor scaled_by(const Tensor& x, double factor) {
  Tensor y = Tensor::empty_like(x, x.shape());
  kernels(x).elementwise.scale({}, x.count(), factor, x.raw(), y.raw());
  return y;
}

/// running = (1 - momentum) running + momentum batch
void move(Tensor& running, const Tensor& batch, double momentum) {
  const ElementwiseKernels& kernel = kernels(running).elementwise;
  const Tensor part = scaled_by(batch, momentum);
  kernel.scale({}, running.count(), 1 - momentum, running.raw(), running.raw());
  kernel.add({}, running.count(), running.raw(), part.raw(), running.raw());
}

}  // namespace

RankStatistics statistics_of_ranks(const Tensor& x, double share) {
  const std::int64_t channels = x.shape()[-1], rows = x.count() / channels;
  const BatchNormGeometry g{rows, channels};
  const BatchNormKernels& norm = kernels(x).batch_norm;
  const Tensor own_mean = Tensor::zeros({channels}, DType::f32, x.device()), ones = constant(own_mean, 1),
               zeros = constant(own_mean, 0), unused = Tensor::empty_like(ones, ones.shape());
  Tensor own_var = constant(own_mean, 0);
  {
    // Running statistics that move all the way are the batch's. What is normalised by them is not wanted.
    const Tensor y = Tensor::empty_like(x, x.shape()), mean = Tensor::empty_like(ones, ones.shape());
    const Workspace workspace(norm.workspace_bytes(g), x.device());
    norm.forward_train({}, g,
                       {.x = x.raw(),
                        .gamma = ones.raw(),
                        .beta = zeros.raw(),
                        .residual = nullptr,
                        .relu = false,
                        .eps = 1,
                        .y = y.raw()},
                       /*momentum=*/1, mean.raw(), unused.raw(), own_mean.raw(), own_var.raw(), workspace.data());
  }
  own_var = scaled_by(own_var, static_cast<double>(rows - 1) / static_cast<double>(rows));  // they are unbiased
  RankStatistics all;
  all.rows = std::llround(static_cast<double>(rows) / share);
  all.mean = scaled_by(own_mean, share);
  group().all_reduce(all.mean);
  const Tensor distance = combined(ones, own_mean, all.mean, zeros);
  all.var = scaled_by(combined(distance, own_mean, all.mean, own_var), share);
  group().all_reduce(all.var);
  return all;
}

Tensor inverse_deviation(const RankStatistics& statistics, double eps) {
  const Tensor& var = statistics.var;
  const Tensor ones = constant(var, 1), zeros = constant(var, 0), unused = Tensor::empty_like(var, var.shape());
  Tensor inv_std = Tensor::empty_like(var, var.shape());
  kernels(var).batch_norm.fold({}, var.count(), ones.raw(), zeros.raw(), statistics.mean.raw(), var.raw(), eps, nullptr,
                               inv_std.raw(), unused.raw());
  return inv_std;
}

void move_running(const RankStatistics& statistics, double momentum, Tensor& running_mean, Tensor& running_var) {
  const auto rows = static_cast<double>(statistics.rows);
  move(running_mean, statistics.mean, momentum);
  move(running_var, scaled_by(statistics.var, rows / (rows - 1)), momentum);
}

Tensor gradient_through_ranks(const Tensor& scaled, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& inv_std, const Tensor& dgamma, const Tensor& dbeta, std::int64_t rows) {
  const Tensor sums = Tensor::empty({2, gamma.count()}, DType::f32, x.device());
  const Tensor sum_dgamma = sums.rows(0, 1).reshaped(gamma.shape()),
               sum_dbeta = sums.rows(1, 1).reshaped(gamma.shape());
  const DeviceMemory& memory = memory_of(x.device());
  memory.copy({}, sum_dgamma.raw(), dgamma.raw(), dgamma.bytes());
  memory.copy({}, sum_dbeta.raw(), dbeta.raw(), dbeta.bytes());
  group().all_reduce(sums);
  const Tensor slope = scaled_by(product(gamma, inv_std), -1 / static_cast<double>(rows));
  return normalized(x, mean, inv_std, product(slope, sum_dgamma), product(slope, sum_dbeta), scaled);
}

}  // namespace retort
