// A teacher's store for a command's images.
#pragma once

#include <string>
#include <vector>

#include "engine/distill/logit_store.h"
#include "tools/cli/options.h"
#include "tools/run/unlabelled.h"

namespace retort {

/// A store that matches a dataset: rows[i] is sample i's row in view 0.
struct StoredTeacher {
  LogitStore store;
  std::vector<std::int64_t> rows;
};

/// Reads a store for `dataset`, which `data` and `split` opened; what it lacks and what is assumed is said on stderr.
/// `classes` as for read_logit_store. The rows of a .npy without an index are those of the dataset's images in its
/// order; or, if there are as many, of the images of the split before --limit and --skip-bad, or of both splits. Throws
/// Error where store and images do not match. With a `map` the store's classes are folded into `classes`, and said.
StoredTeacher open_store(const std::string& path, const std::vector<std::string>& classes, const Dataset& dataset,
                         Split split, const DataOptions& data, const CommonOptions& common,
                         const ClassMap* map = nullptr);
/// One store for `images` out of several stores or tables, each picture's row found by name in the first that has it.
/// `images` are pictures of `labelled`, which `data` opened, and all of the sets. The rows of a .npy without an index
/// are those of the labelled pictures, as above, or of one of the sets. Throws Error counting the pictures that none
/// has and naming the first; what gather_logits throws.
StoredTeacher open_stores(const std::vector<std::string>& paths, const Dataset& images, const Dataset& labelled,
                          const UnlabelledSets& sets, const DataOptions& data, const CommonOptions& common,
                          const ClassMap* map = nullptr);
/// The same store for some of the dataset's samples.
StoredTeacher part_of(const StoredTeacher& stored, const std::vector<std::int64_t>& samples);

}  // namespace retort
