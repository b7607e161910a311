// Pictures with labels and pictures without in one dataset: what a student learns from where only some were labelled.
#pragma once

#include "engine/data/dataset.h"

namespace retort {

/// All samples of `labelled`, then those of each unlabelled set, whose labels count as -1 even where it has classes.
/// Names stay as they are, because stored logits are found by them, and so must be unique. Classes and native channels
/// are labelled's. Throws UsageError where `labelled` has no labels, Error naming a name that two samples have.
std::unique_ptr<Dataset> join_unlabelled(std::shared_ptr<const Dataset> labelled,
                                         std::vector<std::shared_ptr<const Dataset>> unlabelled);

/// How many samples of a dataset have a label.
std::int64_t labelled_samples(const Dataset& dataset);

}  // namespace retort
