// Activations beyond ReLU, elementwise over n contiguous elements. x is the forward's input; with NaN in, NaN comes
// out.
//
//   affine         alpha x + beta
//   clip           min(max(x, alpha), beta);  its gradient is 0 where x <= alpha or x >= beta
//   sigmoid        s(x) = 1 / (1 + exp(-x))
//   silu           x s(x)                                                        (Elfwing et al., arXiv 1702.03118)
//   hard_sigmoid   min(max(alpha x + beta, 0), 1)
//   hard_swish     x min(max(x / 6 + 1/2, 0), 1)                                 (Howard et al., arXiv 1905.02244)
//   leaky_relu     x where x > 0, else alpha x
//   gelu           x Phi(x), Phi the normal distribution function                (Hendrycks & Gimpel, arXiv 1606.08415)
//   gelu_tanh      x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
//   erf, tanh
#pragma once

#include "kernels/types.h"

namespace retort {

enum class ActivationKind : std::uint8_t {
  affine,
  clip,
  sigmoid,
  silu,
  hard_sigmoid,
  hard_swish,
  leaky_relu,
  gelu,
  gelu_tanh,
  erf,
  tanh
};

/// alpha and beta as above; others do not read them.
struct Activation {
  ActivationKind kind = ActivationKind::sigmoid;
  double alpha = 0, beta = 0;
};

struct ActivationKernels {
  Required<void(Stream, const Activation&, std::int64_t n, const void* x, void* y)> forward;
  /// dx = dy f'(x); dx may be dy.
  Required<void(Stream, const Activation&, std::int64_t n, const void* x, const void* dy, void* dx)> backward;
};

}  // namespace retort
