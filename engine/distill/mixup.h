// Mixup (Zhang et al., arXiv 1710.09412): each sample is blended with another of its batch.
#pragma once

#include "engine/data/loader.h"
#include "engine/ops/loss.h"

namespace retort {

/// Blends sample i of the batch, in every input, with sample n-1-i: x = w * x_i + (1 - w) * x_(n-1-i), w ~ Beta(alpha,
/// alpha) drawn from (seed, epoch, sample name). Fills targets.labels2 and .weight if the batch has labels.
void mixup(Batch& batch, Targets& targets, double alpha, std::uint64_t seed, std::uint64_t epoch,
           const Dataset& dataset);

}  // namespace retort
