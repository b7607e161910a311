// Cross-entropy and the distillation loss. See kernels/loss.h for the formulas (Hinton et al., arXiv 1503.02531).
#pragma once

#include "engine/core/tensor.h"
#include "kernels/soft_loss.h"

namespace retort {

/// The hard targets of a batch; labels2 and weight come from mixup.
struct Targets {
  Tensor labels = {};    ///< i64 [n], each in [0, classes); may be empty where labels are not read
  Tensor labels2 = {};   ///< i64 [n] or empty
  Tensor weight = {};    ///< f32 [n] in [0, 1], or empty
  double smoothing = 0;  ///< label smoothing in [0, 1)
};

/// The hard targets of the first `count` rows, as views.
Targets first_rows(const Targets& targets, std::int64_t count);

/// logits [n, classes] -> the mean cross-entropy, one element [1]. Saves the gradient (computed in the same pass).
/// Throws Error on other shapes, a label out of range (naming the row), or empty labels.
Tensor cross_entropy(const Tensor& logits, const Targets& targets);

struct DistillationLoss {
  Tensor total;  ///< [1], differentiable
  Tensor parts;  ///< [3] = total, hard, soft; no gradient
};

/// student and teacher logits [n, classes]. Saves the student's gradient. Throws Error as above, on T <= 0, and on
/// lambda outside [0, 1], a soft weight below 0, and mixup beside a loss that reads labels (SoftLossRow). With lambda =
/// 0 labels may be empty, unless the loss reads them. No gradient reaches the teacher.
DistillationLoss distillation_loss(const Tensor& student, const Tensor& teacher, const Targets& targets,
                                   const DistillationSettings& settings);

}  // namespace retort
