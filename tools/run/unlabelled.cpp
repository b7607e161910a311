#include "tools/run/unlabelled.h"

#include <cmath>

#include "engine/core/check.h"
#include "engine/data/joined.h"
#include "engine/data/sampling.h"
#include "engine/io/file.h"
#include "tools/cli/progress.h"

namespace retort {

void validate(const UnlabelledOptions& options) {
  if (options.share && options.folders.empty())
    throw UsageError("--unlabelled-share: there are no pictures without labels; name some with --unlabelled DIR");
}

UnlabelledSets open_unlabelled(const UnlabelledOptions& options, const DataOptions& data, const CommonOptions& common) {
  UnlabelledSets sets;
  for (const std::string& folder : options.folders) {
    DataOptions all;
    all.path = folder;
    all.skip_bad = data.skip_bad;
    sets.push_back(open_data(all, common, Split::train, /*allow_unlabelled=*/true, /*whole=*/true));
  }
  return sets;
}

std::shared_ptr<const Dataset> join_sets(std::shared_ptr<const Dataset> labelled, const UnlabelledSets& sets,
                                         const UnlabelledOptions& options, std::int64_t batch_size, bool quiet) {
  if (sets.empty()) return labelled;
  const std::int64_t with_labels = labelled->size();
  std::shared_ptr<const Dataset> all = join_unlabelled(std::move(labelled), sets);
  const SamplingPlan plan = plan_sampling(*all, batch_size, options.share);
  std::string line = text("data: ", with_labels, " pictures with labels, ", all->size() - with_labels, " without (");
  for (std::size_t i = 0; i < sets.size(); ++i)
    line += text(i > 0 ? ", " : "", sets[i]->size(), " of ", options.folders[i]);
  say(quiet, text(line, "); of the ", plan.batch_size(), " in a batch ", plan.unlabelled, " are without, ",
                  std::lround(100 * plan.unlabelled_share()), "%; an epoch has ", plan.batches, " batches"));
  return all;
}

std::string describe(const UnlabelledSets& sets) {
  if (sets.empty()) return {};
  std::int64_t pictures = 0;
  std::string names;
  for (const auto& set : sets) {
    pictures += set->size();
    for (std::int64_t i = 0; i < set->size(); ++i) names += set->name(i) + "\n";
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(names.data());
  return text(pictures, " pictures, ", content_hash({bytes, names.size()}));
}

}  // namespace retort
