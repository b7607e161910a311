// y = gamma h + beta, h = (x - mean) / sqrt(variance + eps) along the last axis; the gradients stand in
// kernels/layer_norm.h
#include "engine/ops/layer_norm.h"

#include "engine/core/saved.h"
#include "engine/core/tape.h"
#include "engine/ops/common.h"

namespace retort {

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check(x && x.shape().rank() >= 1 && x.count() > 0, "[layer_norm] the input is ", x ? to_string(x.shape()) : "empty",
        "; give [..., c] with an element at least");
  const std::int64_t channels = x.shape()[-1];
  check_operand("layer_norm", "gamma", gamma, {channels}, parameter_dtype(x.dtype()));
  check_operand("layer_norm", "beta", beta, {channels}, parameter_dtype(x.dtype()));
  check_device("layer_norm", x, gamma);
  const LayerNormGeometry g{x.count() / channels, channels, eps};
  Tensor y = Tensor::empty_like(x, x.shape());
  Tensor mean = empty_parameter(x, {g.rows}), inv_std = empty_parameter(x, {g.rows});
  kernels(x).layer_norm.forward({}, g, x.raw(), gamma.raw(), beta.raw(), y.raw(), mean.raw(), inv_std.raw());

  if (Tape* tape = recording({&x, &gamma, &beta})) {
    y.require_grad();
    tape->record("layer_norm", [g, slot_y = y.slot(), slot_x = x.slot(), slot_gamma = gamma.slot(),
                                slot_beta = beta.slot(), x = Saved(x), gamma = gamma.detached(), mean = std::move(mean),
                                inv_std = std::move(inv_std)]() mutable {
      const Tensor dy = take_grad(*slot_y);
      if (!dy) return;
      const Tensor input = x.take();
      const LayerNormKernels& kernel = kernels(dy).layer_norm;
      if (slot_gamma || slot_beta) {
        Tensor dgamma = empty_parameter(dy, {g.channels}), dbeta = empty_parameter(dy, {g.channels});
        const Workspace workspace(kernel.backward_parameters_workspace_bytes(g), dy.device());
        kernel.backward_parameters({}, g, input.raw(), mean.raw(), inv_std.raw(), dy.raw(), dgamma.raw(), dbeta.raw(),
                                   workspace.data());
        if (slot_gamma) accumulate(*slot_gamma, std::move(dgamma));
        if (slot_beta) accumulate(*slot_beta, std::move(dbeta));
      }
      if (!slot_x) return;
      Tensor dx = dy.unique() ? dy : Tensor::empty_like(dy, dy.shape());
      kernel.backward_input({}, g, input.raw(), gamma.raw(), mean.raw(), inv_std.raw(), dy.raw(), dx.raw());
      accumulate(*slot_x, std::move(dx));
    });
  }
  return y;
}

}  // namespace retort
