// Part of a dataset's samples, with all of its classes: a transfer set in which some classes are never seen, or the two
// parts of a training set of which one chooses settings.
#pragma once

#include "engine/data/dataset.h"

namespace retort {

/// The samples whose class is not among `omitted`, in order. Throws UsageError for an unlabelled dataset, a name that
/// is no class, and where no sample would be left.
std::vector<std::int64_t> samples_without(const Dataset& dataset, const std::vector<std::string>& omitted);

struct HeldOut {
  std::vector<std::int64_t> kept, held;  ///< in order
};
/// Takes out round(share * n) of a class's n samples, at least one and at most n - 1, those whose names hash lowest.
/// Throws Error naming a class with fewer than two samples.
HeldOut hold_out(const Dataset& dataset, double share);

/// The listed samples of a dataset as one of its own; classes and names stay.
std::unique_ptr<Dataset> pick_samples(std::shared_ptr<const Dataset> source, std::vector<std::int64_t> samples);

}  // namespace retort
