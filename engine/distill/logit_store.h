// A teacher's logits on disk: FILE.npy float32 [rows, classes], FILE.json the index that ties each row to an image.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/data/dataset.h"
#include "engine/data/transform.h"

namespace retort {

struct LogitStore {
  Tensor logits;                     ///< f32 [rows, classes]; row v * samples + i is view v of sample i
  std::vector<std::string> names;    ///< one per row
  std::vector<std::string> hashes;   ///< one per row; empty if not known (an import)
  std::vector<std::string> classes;
  std::string teacher;               ///< hash of the teacher's file(s); empty if not known
  std::vector<Preprocessing> preprocessing;  ///< of each teacher; empty if not known
  std::int64_t views = 1;
  Augmentation augmentation;         ///< of the views
  std::uint64_t seed = 0;            ///< of the augmentation
  std::string combine;               ///< "logit", "arithmetic", "geometric"; for several teachers

  std::int64_t samples() const { return static_cast<std::int64_t>(names.size()) / views; }
};

/// Writes FILE.npy and FILE.json (the .npy extension replaced), and the CSV if csv is not empty. Atomic each.
void write_logit_store(const std::string& path, const LogitStore& store, const std::string& csv);

/// Reads FILE.npy with its FILE.json; a .csv alone; a pickled dict .npy. `classes` names the columns where the file does
/// not. Throws Error naming what disagrees (row counts, a missing index, non-finite logits).
LogitStore read_logit_store(const std::string& path, const std::vector<std::string>& classes);

/// Checks a store against a dataset and returns, for each sample, its row in view 0. Throws Error naming the first file
/// at fault: missing in the store, extra in the store, changed content; or another class list. When the store has
/// fewer columns than classes, or they are ordered otherwise, that is an error too.
std::vector<std::int64_t> match_logit_store(const LogitStore& store, const std::string& path, const Dataset& dataset);

}  // namespace retort
