// One logit store for a dataset out of several: the labelled pictures' scores may lie in one table, those of the
// pictures without labels in another.
#pragma once

#include <string>
#include <vector>

#include "engine/distill/logit_store.h"

namespace retort {

/// The logits of each sample of the dataset, in its order (so that row i of view 0 is sample i), each from the first
/// store that knows its name; `paths` name the stores in messages. Stores without hashes, such as tables from
/// elsewhere, may name files without their folders where that is unique in the dataset; stores with hashes must have
/// seen the same content. A store of one view stands for all views of its samples where another has several.
/// Augmentation, seed and preprocessing are those of the first store with the most views; hashes are kept where all
/// stores have them.
///
/// Throws Error naming a sample that no store knows, one whose content changed, or a store with other classes than the
/// dataset's or with views that differ from another's.
LogitStore gather_logits(const std::vector<LogitStore>& stores, const std::vector<std::string>& paths,
                         const Dataset& dataset);

}  // namespace retort
