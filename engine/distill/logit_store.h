// A teacher's logits on disk: FILE.npy float32 [rows, classes], or as engine/distill/stored_logits.h says; FILE.json
// the index that ties each row to an image.
//
// The index is a JSON object: format "retort-logits", version 1, logits (content hash of FILE.npy), names and hashes
// (one a row), classes, teacher, preprocessing [{image_size, channels, mean, std}], views, augmentation ("none" or a
// list such as "flip,crop"), seed, combine; "dtype": "f16" and "top_k": K where the rows are so encoded.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/data/dataset.h"
#include "engine/data/transform.h"
#include "engine/distill/stored_logits.h"

namespace retort {

struct LogitStore {
  StoredLogits logits;              ///< row v * samples + i is view v of sample i
  std::vector<std::string> names;   ///< one per row
  std::vector<std::string> hashes;  ///< one per row; empty if not known (an import)
  std::vector<std::string> classes;
  std::string teacher;                       ///< hash of the teacher's file(s); empty if not known
  std::vector<Preprocessing> preprocessing;  ///< of each teacher; empty if not known
  std::int64_t views = 1;
  Augmentation augmentation;  ///< of the views
  std::uint64_t seed = 0;     ///< of the augmentation
  std::string combine;        ///< "logit", "arithmetic", "geometric"; for several teachers
  std::string remark;         ///< what an import lost, for the user to read; not stored

  std::int64_t samples() const { return static_cast<std::int64_t>(names.size()) / views; }
};

/// Throws Error for a name that an index, which is JSON and so UTF-8, cannot hold. For a command to ask before it runs
/// a teacher.
void check_storable(const std::vector<std::string>& names, const std::string& path);
/// FILE.json of FILE.npy.
std::string index_path(const std::string& path);
/// check_writable, of both files.
void check_store_writable(const std::string& path);

/// Writes FILE.npy and FILE.json (the .npy extension replaced), and the CSV if csv is not empty; a CSV has one row a
/// name, so of several views it takes the first. At any moment the two files are readable as the store before or as
/// the new one: while logits are replaced, the index holds the one before it, too, as "previous". Throws Error for
/// logits that are not finite, before anything is written, and for a name that is not UTF-8.
void write_logit_store(const std::string& path, const LogitStore& store, const std::string& csv);
/// Gives logits [rows, classes] to a sink, in order and in parts.
using LogitSource = std::function<void(const LogitSink& sink)>;
/// The same with the store's logits from `source`, which is asked once and once more for a CSV; they are never in
/// memory all at once, but for those of a CSV.
void write_logit_store(const std::string& path, const LogitStore& store, const LogitSource& source,
                       const std::string& csv, const LogitEncoding& encoding = {});

/// The names of so many rows, for a .npy that has no index; throws Error for a number that it has none for.
using RowNames = std::function<std::vector<std::string>(std::int64_t rows)>;

/// Opens FILE.npy with its FILE.json, and looks once at all rows, which stay in the file; a .csv alone; a pickled dict
/// .npy; a .npy of f32 or f64 [rows, classes] alone, if `row_names` is given. The latter three may hold probabilities,
/// which is taken for granted where no value is below 0 and every row adds up to 1, give or take 0.05: their
/// logarithms, of 1e-7 at least, then serve as logits. A .csv may hold one predicted class a name instead
/// (read_prediction_csv). LogitStore::remark says what is lost by either. `classes` names the columns where the file
/// does not; if it is empty, they are called "0", "1", ... Throws Error naming what disagrees: row counts, a missing
/// index, an index that was written with other logits, vectors of different lengths, non-finite logits.
LogitStore read_logit_store(const std::string& path, const std::vector<std::string>& classes,
                            const RowNames& row_names = {});

/// Checks a store against a dataset and returns, for each sample, its row in view 0. Throws Error naming the first at
/// fault: another class list (an unlabelled dataset has none); a file, in the dataset's order, that the store lacks or
/// whose content changed; a file that only the store has. An import has no hashes, may know of further files, and where
/// no name matches, its names are taken for those of files without folders, if these are unique in the dataset.
std::vector<std::int64_t> match_logit_store(const LogitStore& store, const std::string& path, const Dataset& dataset);

}  // namespace retort
