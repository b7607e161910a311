// y = act(gamma * (x - mean) / sqrt(var + eps) + beta + residual), per channel; act = max(0, .) if relu.
//
// With dz the gradient before the activation and xh = (x - mean) / sqrt(var + eps):
//   dbeta = sum dz,  dgamma = sum dz xh,  dresidual = dz,
//   dx = gamma / sqrt(var + eps) * (dz - dbeta / rows - xh dgamma / rows)   (without the last two terms in evaluation)
#include "engine/ops/batch_norm.h"

#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"
#include "engine/ops/sync_batch_norm.h"

namespace retort {

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean, Tensor& running_var,
                  const BatchNormOptions& options, const Tensor& residual) {
  const DType dtype = parameter_dtype(x.dtype());
  check(x && x.shape().rank() >= 1 && x.count() > 0, "[batch_norm] the input has the shape ", x.shape(),
        "; give [..., c] with at least one row");
  const std::int64_t channels = x.shape()[-1];
  check_operand("batch_norm", "gamma", gamma, {channels}, dtype);
  check_operand("batch_norm", "beta", beta, {channels}, dtype);
  check_operand("batch_norm", "running_mean", running_mean, {channels}, dtype);
  check_operand("batch_norm", "running_var", running_var, {channels}, dtype);
  if (residual) check_operand("batch_norm", "the residual", residual, x.shape(), x.dtype());
  check_device("batch_norm", x, gamma);
  const BatchNormGeometry g{x.count() / channels, channels};
  const bool training = options.training, relu = options.relu;
  const std::optional<double> share = training ? options.share : std::nullopt;
  check(!share || dtype == DType::f32, "[batch_norm] the ranks' statistics are f32; give x in f32 or bf16");
  check(!training || g.rows > 1 || share.value_or(1) < 1, "[batch_norm] training on ", x.shape(),
        " leaves one value a channel, which has no variance; use a larger --batch-size or --image-size");

  const bool saves = recording({&x, &gamma, &beta, &residual});
  Tensor y = Tensor::empty_like(x, x.shape());
  Tensor mean, inv_std;
  std::int64_t rows_of_ranks = 0;
  {
    const BatchNormKernels& norm = kernels(x).batch_norm;
    const BatchNormForward forward{.x = x.raw(),
                                   .gamma = gamma.raw(),
                                   .beta = beta.raw(),
                                   .residual = residual.raw(),
                                   .relu = relu,
                                   .eps = options.eps,
                                   .y = y.raw()};
    const Workspace workspace(norm.workspace_bytes(g), x.device());
    if (share) {
      const RankStatistics statistics = statistics_of_ranks(x, *share);
      mean = statistics.mean;
      inv_std = inverse_deviation(statistics, options.eps);
      rows_of_ranks = statistics.rows;
      move_running(statistics, options.momentum, running_mean, running_var);
      norm.apply({}, g, forward, mean.raw(), inv_std.raw(), workspace.data());
    } else {
      if (training || saves) {
        mean = empty_parameter(x, {channels});
        inv_std = empty_parameter(x, {channels});
      }
      if (training)
        norm.forward_train({}, g, forward, options.momentum, mean.raw(), inv_std.raw(), running_mean.raw(),
                           running_var.raw(), workspace.data());
      else
        norm.forward_eval({}, g, forward, running_mean.raw(), running_var.raw(), mean.raw(), inv_std.raw(),
                          workspace.data());
    }
  }

  if (saves) {
    y.require_grad();
    // Backward needs x in any case, and y follows from x: whoever saves y keeps no elements of it.
    const auto recomputation = residual ? nullptr : std::make_shared<Recomputation>();
    if (recomputation) {
      recomputation->run = [g, relu, x = x.detached(), gamma = gamma.detached(), beta = beta.detached(), mean,
                            inv_std] {
        const BatchNormKernels& norm = kernels(x).batch_norm;
        Tensor again = Tensor::empty_like(x, x.shape());
        const BatchNormForward forward{.x = x.raw(),
                                       .gamma = gamma.raw(),
                                       .beta = beta.raw(),
                                       .residual = nullptr,
                                       .relu = relu,
                                       .eps = 0,  // apply does not read it
                                       .y = again.raw()};
        const Workspace workspace(norm.workspace_bytes(g), x.device());
        norm.apply({}, g, forward, mean.raw(), inv_std.raw(), workspace.data());
        return again;
      };
      y.recompute_by(recomputation);
    }
    Tape::active()->record(
        "batch_norm", [g, training, relu, rows_of_ranks, recomputation, slot_y = y.slot(), slot_x = x.slot(),
                       slot_gamma = gamma.slot(), slot_beta = beta.slot(), slot_residual = residual.slot(),
                       x = x.detached(), y = relu && residual ? y.detached() : Tensor(), gamma = gamma.detached(),
                       beta = beta.detached(), mean, inv_std]() mutable {
          if (recomputation) recomputation->run = {};  // the steps that saved y have run
          Tensor dy = take_grad(*slot_y);
          if (!dy) return;
          const bool over_ranks = rows_of_ranks > 0;
          Tensor dx = slot_x && !over_ranks ? Tensor::empty_like(dy, x.shape()) : Tensor();
          Tensor dgamma = slot_gamma || over_ranks ? empty_parameter(dy, gamma.shape()) : Tensor();
          Tensor dbeta = slot_beta || over_ranks ? empty_parameter(dy, gamma.shape()) : Tensor();
          // Without an activation the residual's gradient is dy itself.
          Tensor dresidual = !relu ? dy : slot_residual ? Tensor::empty_like(dy, x.shape()) : Tensor();
          {
            const BatchNormKernels& norm = kernels(dy).batch_norm;
            BatchNormBackward backward{.x = x.raw(),
                                       .y = y.raw(),
                                       .dy = dy.raw(),
                                       .gamma = gamma.raw(),
                                       .beta = beta.raw(),
                                       .mean = mean.raw(),
                                       .inv_std = inv_std.raw(),
                                       .relu = relu,
                                       .dx = dx.raw(),
                                       .dgamma = dgamma.raw(),
                                       .dbeta = dbeta.raw(),
                                       .dresidual = relu ? dresidual.raw() : nullptr};
            const Workspace workspace(norm.workspace_bytes(g), dy.device());
            if (over_ranks) {
              backward.dx = nullptr;  // the sums of the other ranks come first
              norm.backward_train({}, g, backward, workspace.data());
              if (slot_x) {
                const Tensor scaled = Tensor::empty_like(dy, x.shape());
                backward.dx = scaled.raw();
                backward.dgamma = backward.dbeta = backward.dresidual = nullptr;
                norm.backward_eval({}, g, backward, workspace.data());
                dx = gradient_through_ranks(scaled, x, gamma, mean, inv_std, dgamma, dbeta, rows_of_ranks);
              }
            } else {
              (training ? norm.backward_train : norm.backward_eval)({}, g, backward, workspace.data());
            }
          }
          dy = x = y = {};
          if (slot_x) accumulate(*slot_x, std::move(dx));
          if (slot_gamma) accumulate(*slot_gamma, std::move(dgamma));
          if (slot_beta) accumulate(*slot_beta, std::move(dbeta));
          if (slot_residual) accumulate(*slot_residual, std::move(dresidual));
        });
  }
  return y;
}

}  // namespace retort
