// Optimizer steps over all parameters at once, global-norm clipping, and the search for what is not finite.
// Throughout, g' = grad_scale * g.
//
// sgd     d = g' + weight_decay * w;  m = momentum * m + d (m = d on the first step);
//         w -= lr * (nesterov ? d + momentum * m : m)          (PyTorch's form; m is unused where momentum is 0)
// adam    d = g' + weight_decay * w;  m = b1 m + (1 - b1) d;  v = b2 v + (1 - b2) d^2;
//         w -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)          (Kingma & Ba 1412.6980)
// adamw   w -= lr * weight_decay * w first, then adam with weight_decay 0    (Loshchilov & Hutter 1711.05101)
#pragma once

#include <span>

#include "kernels/types.h"

namespace retort {

/// What changes from step to step; lives in the backend's memory and is read when the kernel runs.
struct StepScalars {
  double lr = 0;
  double grad_scale = 1;  ///< 1, or max_norm / norm when the gradients are clipped
  std::int64_t step = 1;  ///< 1 on the first step
};

struct SgdSettings {
  double momentum = 0, weight_decay = 0;
  bool nesterov = false;
};

struct AdamSettings {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  ///< true: AdamW
};

/// One parameter of an optimizer's step. m and v are the moments; null where the method has none.
struct ParameterStep {
  std::int64_t n = 0;
  void* w = nullptr;
  const void* g = nullptr;
  void* m = nullptr;
  void* v = nullptr;
};
/// All parameters of a step, in host memory: a backend may take many in one launch.
using ParameterSteps = std::span<const ParameterStep>;

struct OptimizerKernels {
  Required<void(Stream, ParameterSteps, const SgdSettings&, const StepScalars*)> sgd;
  Required<void(Stream, ParameterSteps, const AdamSettings&, const StepScalars*)> adam;
  /// Bytes of workspace for clip and find_not_finite.
  Required<std::size_t(ParameterSteps)> workspace_bytes;
  /// *norm = the Euclidean norm of all gradients, summed in double in a fixed order, and scalars->grad_scale = max_norm
  /// / norm where that is below 1, else 1.
  Required<void(Stream, ParameterSteps, double max_norm, StepScalars* scalars, double* norm, void* workspace)> clip;
  /// *index = that of the first parameter with an infinite or NaN element in w, or -1.
  Required<void(Stream, ParameterSteps, std::int32_t* index, void* workspace)> find_not_finite;
};

}  // namespace retort
