// Pictures without labels beside the labelled ones of --data.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli/options.h"

namespace retort {

struct UnlabelledOptions {
  std::vector<std::string> folders;
  std::optional<double> share;  ///< none: theirs of the pictures
};

template <class Visitor>
void visit_flags(UnlabelledOptions& o, Visitor&& flag) {
  const FlagSubject subject(flag, "Pictures without labels", "--unlabelled more --logits more.csv");
  flag("--unlabelled", o.folders,
       "Pictures for which the teacher alone speaks, beside those of --data; all of the folder, labels unread",
       whole_words(anything()), bits_in("--unlabelled"));
  flag("--unlabelled-share", o.share, "Theirs of a batch, in (0, 1) (default: theirs of all pictures)",
       number_in("(0, 1)"), bits_unless(!o.share));
}

/// Throws UsageError for a share without pictures.
void validate(const UnlabelledOptions& options);

/// What --unlabelled names, each folder whole.
using UnlabelledSets = std::vector<std::shared_ptr<const Dataset>>;
UnlabelledSets open_unlabelled(const UnlabelledOptions& options, const DataOptions& data, const CommonOptions& common);

/// The labelled pictures and the others in one; `labelled` itself where there are no others. Says what was taken, and
/// how a batch is made up. Throws what join_unlabelled throws.
std::shared_ptr<const Dataset> join_sets(std::shared_ptr<const Dataset> labelled, const UnlabelledSets& sets,
                                         const UnlabelledOptions& options, std::int64_t batch_size, bool quiet);

/// The entry of a run's fingerprint: the pictures' number and names; empty where there are none.
std::string describe(const UnlabelledSets& sets);

}  // namespace retort
