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
//
// That is `kd`. Other losses put another soft term in its place; the convention then says no more than the weights:
//   loss = lambda * hard + w * soft,   w = soft_weight * (1 - lambda) under convex, soft_weight under additive.
// Per row, with s = softmax(z), y = the row's label, C classes, and hats for what remains when class y is taken out and
// the rest made to add up to 1 (k, in three of them, is the loss's constant: soft_loss.h):  p^_i = p_i / (1 - p_y),
// q^_i = q_i / (1 - q_y),  i != y.
//   mse    1 / (2 C) sum_i (z_i - v_i)^2                                     d/dz_i = (z_i - v_i) / C
//          The limit of T^2 KL(p || q) for T -> infinity and zero-mean logits (Ba & Caruana, 1312.6184); no T.
//   dkd    T^2 [KL(b_v || b_z) + k KL(p^ || q^)],  b_v = (p_y, 1 - p_y),  b_z = (q_y, 1 - q_y)  (Zhao, 2203.08679)
//          d/dz_y = T (q_y - p_y)     d/dz_i = T [k (q^_i - p^_i) - (q_y - p_y) q^_i]
//   nkd    -s'_y log s_y - k T^2 sum_{i != y} p^_i log q^_i,  s' = softmax(v)  (Yang, 2303.13005)
//          d/dz_y = s'_y (s_y - 1)    d/dz_i = s'_y s_i + k T (q^_i - p^_i)
//   ttm    KL(p || s): a temperature for the teacher alone (Zheng & Yang, 2402.11148)      d/dz_i = s_i - p_i
//   wttm   U KL(p || s),  U = sum_k softmax(v)_k^(1 / T), large where the teacher is unsure (the same paper)
//   dist   (1 - mean over rows of r(p, q)) + k (1 - mean over classes of r(P_j, Q_j)),  P_j, Q_j class j's columns
//          over the batch (Huang, 2205.10536); r is Pearson's correlation: with a, b less their means,
//          r = a.b / sqrt((a.a + e)(b.b + e)),  dr/db_i = a_i / sqrt((a.a + e)(b.b + e)) - r b_i / (b.b + e),
//          where e = 1e-8 keeps a constant row harmless;  d/dz_i = q_i (g_i - sum_j q_j g_j) / T for g = d/dq.
//          No T^2 here; soft_weight can put one.
// `standardize` (Sun, 2403.01427) gives any soft term z <- (z - mean) / (std + 1e-7) of each row and net, where std
// divides by C - 1. With g = d/dz of the standardised z, c = z - mean and k = std + 1e-7, the gradient becomes
//          (g_i - mean(g)) / k - c_i (g.c) / (k^2 (C - 1) std).
#pragma once

#include "kernels/soft_loss.h"
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

/// Constants of the formulas above, as their papers have them.
inline constexpr double kPearsonFloor = 1e-8, kStandardFloor = 1e-7;

struct LossKernels {
  /// Bytes of workspace for either entry and every loss.
  Required<std::size_t(Rows)> workspace_bytes;
  /// loss[0] = mean CE; dz (may be null) = its gradient, 1 / rows included.
  Required<void(Stream, Rows, const HardTargets&, const void* z, void* loss, void* dz, void* workspace)> cross_entropy;
  /// loss[0..2] = total, hard, soft, each a mean over the rows (dist: a value of the batch); dz (may be null) = the
  /// total's gradient, 1 / rows included.
  Required<void(Stream, Rows, const DistillationSettings&, const HardTargets&, const void* z, const void* v, void* loss,
                void* dz, void* workspace)>
      distillation;
};

}  // namespace retort
