// Mixup (Zhang et al., arXiv 1710.09412): each sample is blended with another of its batch.
#pragma once

#include "engine/data/loader.h"
#include "engine/ops/loss.h"

namespace retort {

/// Blends sample i of the batch, in every input, with its partner j: x = w * x_i + (1 - w) * x_j, w ~ Beta(alpha,
/// alpha) drawn from (seed, epoch, sample name). Fills targets.labels2 and .weight if the batch has labels.
void mixup(Batch& batch, Targets& targets, double alpha, std::uint64_t seed, std::uint64_t epoch,
           const Dataset& dataset);

/// The row that a row of n is mixed with: n-1-row; where only some rows have a label, those among themselves, and the
/// rest likewise.
std::int64_t mixing_partner(const Batch& batch, std::int64_t row);

/// targets.weight = weight f32 [n], and labels2 = the partners' labels.
void set_mixed_targets(const Batch& batch, Tensor weight, Targets& targets);

}  // namespace retort
