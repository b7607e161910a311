// How pictures with labels and pictures without share the batches of a run.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/data/dataset.h"

namespace retort {

/// Every batch has the same rows with a label, which come first, and the same rows without one: so each batch weighs
/// the two alike, and one captured step serves them all.
struct SamplingPlan {
  std::int64_t labelled = 0, unlabelled = 0;  ///< rows of a batch
  std::int64_t batches = 0;                   ///< of an epoch
  std::int64_t views = 0;                     ///< a sample's views repeat after so many; 0: never

  std::int64_t batch_size() const { return labelled + unlabelled; }
  double unlabelled_share() const { return static_cast<double>(unlabelled) / static_cast<double>(batch_size()); }
};

/// The plan for a dataset of both kinds. A batch has `batch_size` rows, or as many as there are samples where that is
/// fewer; round(share * rows) of them have no label, at least one of each kind. Without a share it is theirs of the
/// samples. An epoch is as many samples as there are, rounded to whole batches (at least one). Throws UsageError on a
/// batch size below 2 and a share outside (0, 1), Error where either kind has no samples.
SamplingPlan plan_sampling(const Dataset& dataset, std::int64_t batch_size,
                           std::optional<double> unlabelled_share = {});

struct Draw {
  std::int64_t index = 0;  ///< into the dataset
  std::uint64_t view = 0;
};

/// The samples of an epoch, batch after batch.
///
/// Each kind is dealt from an endless row of passes over its samples, pass p in the order permutation(n,
/// Random::of(seed, "labelled" or "unlabelled", p)), and the epochs take up where the one before stopped. So a kind
/// whose rows are more than its samples in an epoch is repeated, one whose rows are fewer is spread over several
/// epochs, and no sample is ever drawn twice more than another of its kind. A draw's view is its pass (modulo
/// plan.views): a sample that is repeated within an epoch shows another view each time, and stored views serve in their
/// turn.
std::vector<Draw> draw_epoch(const Dataset& dataset, const SamplingPlan& plan, std::uint64_t seed, std::uint64_t epoch);

}  // namespace retort
