// CutMix (Yun et al., arXiv 1905.04899): a box of each picture is replaced by another's, and the labels share by area.
#pragma once

#include "engine/data/loader.h"
#include "engine/ops/loss.h"

namespace retort {

/// Pastes into picture i of the batch a box of its partner, the same places in every input: partner n-1-i, and where
/// only some rows have a label, within its own kind of rows, as mixup has it. The box has 1 - w of the area, w ~
/// Beta(alpha, alpha), the picture's aspect and a centre anywhere in it, and is cut at the edge; all drawn from (seed,
/// epoch, sample name). Fills targets.labels2 and .weight, the share of the first input's pixels that stay, if the
/// batch has labels.
void cutmix(Batch& batch, Targets& targets, double alpha, std::uint64_t seed, std::uint64_t epoch,
            const Dataset& dataset);

}  // namespace retort
