// Batch normalisation over the rows of x [rows, channels] (NHWC: rows = n*h*w), with an optional residual and ReLU
// folded into the same pass.
//
//   train:  mean = sum(x) / rows,  var = sum((x - mean)^2) / rows        (per channel, as exact as two passes give)
//   eval:   mean = running_mean,   var = running_var
//   y = act(gamma * (x - mean) / sqrt(var + eps) + beta + residual),  act = max(0, .) if relu, else identity
//
// Training moves the running statistics: running = (1 - momentum) * running + momentum * batch, with the unbiased
// variance (divided by rows - 1), as Ioffe & Szegedy 1502.03167 and PyTorch do; of one row it counts as 0.
#pragma once

#include "kernels/types.h"

namespace retort {

struct BatchNormGeometry {
  std::int64_t rows = 1, channels = 1;
};

/// Arguments shared by the forward entries. residual may be null; channel vectors have `channels` elements.
struct BatchNormForward {
  const void* x;
  const void* gamma;
  const void* beta;
  const void* residual;
  bool relu;
  double eps;
  void* y;
};

/// Arguments of backward. y is the forward's output and is read only if relu was on; without a residual it may be null
/// even then, as its sign follows from x. dresidual is null when forward had no residual or its gradient is not wanted;
/// dx, dgamma and dbeta may each be null likewise.
struct BatchNormBackward {
  const void* x;
  const void* y;
  const void* dy;
  const void* gamma;
  const void* beta;
  const void* mean;     ///< as used by forward
  const void* inv_std;  ///< 1 / sqrt(var + eps), as used by forward
  bool relu;
  void* dx;
  void* dgamma;
  void* dbeta;
  void* dresidual;
};

struct BatchNormKernels {
  /// Bytes of workspace for any of the entries below.
  Required<std::size_t(const BatchNormGeometry&)> workspace_bytes;
  /// Writes y, mean and inv_std (both [channels], for backward) and moves running_mean and running_var.
  Required<void(Stream, const BatchNormGeometry&, const BatchNormForward&, double momentum, void* mean, void* inv_std,
                void* running_mean, void* running_var, void* workspace)>
      forward_train;
  /// Copies the mean and inv_std that it used, as above; both may be null where backward will not run.
  Required<void(Stream, const BatchNormGeometry&, const BatchNormForward&, const void* running_mean,
                const void* running_var, void* mean, void* inv_std, void* workspace)>
      forward_eval;
  /// forward_eval's normalisation as one multiply-add, for the epilogue of the convolution before it:
  /// scale = gamma / sqrt(running_var + eps), shift = beta + (bias - running_mean) * scale. bias is the convolution's
  /// or null; all are [channels], of a parameter's dtype.
  Required<void(Stream, std::int64_t channels, const void* gamma, const void* beta, const void* running_mean,
                const void* running_var, double eps, const void* bias, void* scale, void* shift)>
      fold;
  /// y once more, to the same bits, from the mean and inv_std that a forward entry wrote; eps is not read.
  Required<void(Stream, const BatchNormGeometry&, const BatchNormForward&, const void* mean, const void* inv_std,
                void* workspace)>
      apply;
  /// mean and inv_std were functions of x: the full gradient.
  Required<void(Stream, const BatchNormGeometry&, const BatchNormBackward&, void* workspace)> backward_train;
  /// mean and inv_std were constants (running statistics).
  Required<void(Stream, const BatchNormGeometry&, const BatchNormBackward&, void* workspace)> backward_eval;
};

}  // namespace retort
