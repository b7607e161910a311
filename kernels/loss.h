// Cross-entropy and the fused distillation loss: one pass over the logits gives the loss and its gradient.
//
// z = student logits, v = teacher logits, both [rows, classes]; t = the hard target distribution of a row,
// p = softmax(v / T), q = softmax(z / T).
//   hard  = CE(t, softmax(z)) = -sum_i t_i log softmax(z)_i
//   soft  = T^2 KL(p || q)  under `convex`,   CE(p, q) = -sum_i p_i log q_i  under `additive`
//   convex    loss = lambda * hard + (1 - lambda) * soft   dz = lambda (softmax(z) - t) + (1 - lambda) T (q - p)
//   additive  loss = lambda * hard + soft                  dz = lambda (softmax(z) - t) + (q - p) / T
// Each is averaged over the rows (Hinton et al., arXiv 1503.02531). A weight of exactly 0 removes its term: lambda = 0
// reads no labels.
#pragma once

#include "kernels/softmax.h"
#include "kernels/types.h"

namespace retort {

/// Hard targets of a batch: t = weight * onehot(labels) + (1 - weight) * onehot(labels2), then smoothed:
/// t <- (1 - smoothing) * t + smoothing / classes. labels2 and weight come from mixup and are null without it.
struct HardTargets {
  const std::int64_t* labels = nullptr;   ///< [rows], each in [0, classes)
  const std::int64_t* labels2 = nullptr;  ///< [rows] or null
  const float* weight = nullptr;          ///< [rows] in [0, 1], or null
  double smoothing = 0;                   ///< Szegedy et al. 1512.00567
};

enum class Convention : std::uint8_t { convex, additive };

struct DistillationSettings {
  double temperature = 1;
  double lambda = 0;
  Convention convention = Convention::convex;
};

struct LossKernels {
  /// Bytes of workspace for either entry.
  Required<std::size_t(Rows)> workspace_bytes;
  /// loss[0] = mean CE; dz (may be null) = its gradient, 1 / rows included.
  Required<void(Stream, Rows, const HardTargets&, const void* z, void* loss, void* dz, void* workspace)> cross_entropy;
  /// loss[0..2] = total, hard, soft, each a mean over the rows; dz (may be null) = the total's gradient, 1 / rows
  /// included.
  Required<void(Stream, Rows, const DistillationSettings&, const HardTargets&, const void* z, const void* v, void* loss,
                void* dz, void* workspace)>
      distillation;
};

}  // namespace retort
