// A specialist's training set: images of a few classes, and as many of all others, which count as one: the dustbin.
#pragma once

#include "engine/data/dataset.h"

namespace retort {

/// The name of the class of all others.
inline constexpr const char* kDustbin = "dustbin";

struct SpecialistSet {
  std::unique_ptr<Dataset> images;       ///< the classes in the order given, then the dustbin
  std::int64_t special = 0, others = 0;  ///< images taken
  /// How much rarer an image of the others is here than in the source, >= 1: its logarithm, added to the dustbin's
  /// logit, undoes it.
  double oversampling = 1;
};

/// All images of `classes` and, drawn from `seed`, as many of the others (Hinton et al., arXiv 1503.02531, section
/// 5.3), or all of these where there are fewer. Throws Error where either side has none, or a class is named like the
/// dustbin.
SpecialistSet specialist_set(std::shared_ptr<const Dataset> source, const std::vector<std::int64_t>& classes,
                             std::uint64_t seed);

}  // namespace retort
