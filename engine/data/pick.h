// Part of a dataset's samples, with all of its classes: a transfer set in which some classes are never seen.
#pragma once

#include "engine/data/dataset.h"

namespace retort {

/// The samples whose class is not among `omitted`, in order. Throws UsageError for an unlabelled dataset, a name that
/// is no class, and where no sample would be left.
std::vector<std::int64_t> samples_without(const Dataset& dataset, const std::vector<std::string>& omitted);

/// The listed samples of a dataset as one of its own; classes and names stay.
std::unique_ptr<Dataset> pick_samples(std::unique_ptr<Dataset> source, std::vector<std::int64_t> samples);

}  // namespace retort
