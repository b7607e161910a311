// Optimizer steps over one parameter, and the pieces of global-norm clipping. g' = grad_scale * g throughout.
//
// sgd     d = g' + weight_decay * w;  m = momentum * m + d (m = d on the first step);
//         w -= lr * (nesterov ? d + momentum * m : m)                        (PyTorch's form; m is unused at momentum
//         0)
// adam    d = g' + weight_decay * w;  m = b1 m + (1 - b1) d;  v = b2 v + (1 - b2) d^2;
//         w -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)          (Kingma & Ba 1412.6980)
// adamw   w -= lr * weight_decay * w first, then adam with weight_decay 0    (Loshchilov & Hutter 1711.05101)
#pragma once

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

struct OptimizerKernels {
  Required<void(Stream, std::int64_t n, const SgdSettings&, const StepScalars*, void* w, const void* g, void* m)> sgd;
  Required<void(Stream, std::int64_t n, const AdamSettings&, const StepScalars*, void* w, const void* g, void* m,
                void* v)>
      adam;
  /// *sum (double) += sum of x^2, in a fixed order; the caller zeroes it.
  Required<void(Stream, std::int64_t n, const void* x, double* sum)> add_sum_of_squares;
};

}  // namespace retort
