#include "engine/data/sampling.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/core/random.h"

namespace retort {
namespace {

struct Kinds {
  std::vector<std::int64_t> labelled, unlabelled;  ///< samples, in order
};

Kinds kinds_of(const Dataset& dataset) {
  Kinds kinds;
  for (std::int64_t i = 0; i < dataset.size(); ++i)
    (dataset.labelled(i) ? kinds.labelled : kinds.unlabelled).push_back(i);
  return kinds;
}

/// Draws first .. first + count - 1 of the endless row of passes over the samples.
std::vector<Draw> draws(const std::vector<std::int64_t>& samples, std::int64_t first, std::int64_t count,
                        std::uint64_t seed, const char* purpose, std::int64_t views) {
  const auto n = static_cast<std::int64_t>(samples.size());
  std::vector<Draw> drawn;
  std::vector<std::int64_t> order;
  for (std::int64_t at = first; at < first + count; ++at) {
    const std::int64_t pass = at / n;
    if (order.empty() || at % n == 0) order = permutation(n, Random::of(seed, purpose, pass));
    drawn.push_back({samples[order[at % n]], static_cast<std::uint64_t>(views > 0 ? pass % views : pass)});
  }
  return drawn;
}

}  // namespace

SamplingPlan plan_sampling(const Dataset& dataset, std::int64_t batch_size, std::optional<double> unlabelled_share) {
  const Kinds kinds = kinds_of(dataset);
  const auto labelled = static_cast<std::int64_t>(kinds.labelled.size()), all = dataset.size();
  check(labelled > 0 && labelled < all, "sampling: ", labelled, " of ", all,
        " images have a label; a plan is for some with and some without");
  if (batch_size < 2)
    throw UsageError(
        text("--batch-size: ", batch_size, " cannot hold images with and without labels; give at least 2"));
  if (unlabelled_share && !(*unlabelled_share > 0 && *unlabelled_share < 1))
    throw UsageError(text("--unlabelled-share: ", *unlabelled_share, " is not between 0 and 1; give a share like 0.5"));
  const double share = unlabelled_share.value_or(static_cast<double>(all - labelled) / static_cast<double>(all));
  const std::int64_t rows = std::min(batch_size, all);
  SamplingPlan plan;
  plan.unlabelled = std::clamp<std::int64_t>(std::llround(share * static_cast<double>(rows)), 1, rows - 1);
  plan.labelled = rows - plan.unlabelled;
  plan.batches = std::max<std::int64_t>(1, (2 * all + rows) / (2 * rows));
  return plan;
}

std::vector<Draw> draw_epoch(const Dataset& dataset, const SamplingPlan& plan, std::uint64_t seed,
                             std::uint64_t epoch) {
  const Kinds kinds = kinds_of(dataset);
  const auto of = [&](const std::vector<std::int64_t>& samples, std::int64_t rows, const char* purpose) {
    const std::int64_t count = rows * plan.batches;
    return draws(samples, static_cast<std::int64_t>(epoch) * count, count, seed, purpose, plan.views);
  };
  const std::vector<Draw> labelled = of(kinds.labelled, plan.labelled, "labelled"),
                          unlabelled = of(kinds.unlabelled, plan.unlabelled, "unlabelled");
  std::vector<Draw> all;
  for (std::int64_t batch = 0; batch < plan.batches; ++batch) {
    all.insert(all.end(), labelled.begin() + batch * plan.labelled, labelled.begin() + (batch + 1) * plan.labelled);
    all.insert(all.end(), unlabelled.begin() + batch * plan.unlabelled,
               unlabelled.begin() + (batch + 1) * plan.unlabelled);
  }
  return all;
}

}  // namespace retort
