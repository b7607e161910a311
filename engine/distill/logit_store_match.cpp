// Which row of a store belongs to which image, or why the two do not go together.
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "engine/core/check.h"
#include "engine/distill/logit_store.h"

namespace retort {
namespace {

using RowOf = std::unordered_map<std::string_view, std::int64_t>;

void check_classes(const LogitStore& store, const std::string& path, const std::vector<std::string>& classes) {
  if (store.classes == classes) return;
  check(store.classes.size() == classes.size(), path, ": logits of ", store.classes.size(),
        " classes, the images have ", classes.size(), "; use logits of the same classes");
  const auto [in_store, in_data] = std::ranges::mismatch(store.classes, classes);
  const bool reordered = std::ranges::is_permutation(store.classes, classes);
  throw Error(text(path, ": class ", in_store - store.classes.begin(), " is '", *in_store, "', but '", *in_data,
                   "' of the images",
                   reordered ? "; the classes are the same in another order: reorder the columns"
                             : "; use logits of the same classes"));
}

/// Of the images that have no row, `first` and how many others.
Error missing_rows(const std::vector<std::string_view>& names, const RowOf& row_of, const std::string& path,
                   const Dataset& dataset, std::int64_t first) {
  const auto missing =
      std::ranges::count_if(names, [&](const std::string_view& name) { return !row_of.contains(name); });
  const auto rows = static_cast<std::int64_t>(row_of.size());
  return Error(text(dataset.name(first), ": has no logits in ", path,
                    missing > 1 ? text(", nor have ", missing - 1, " others of the ", dataset.size(), " images") : "",
                    "; write the logits again from these images",
                    rows < dataset.size()
                        ? text(" (it has ", rows, " rows: if they were written with --limit, give it here too)")
                        : ""));
}

std::string_view without_folder(std::string_view name) { return name.substr(name.rfind('/') + 1); }

/// The names under which the store may know each sample: the dataset's own or, for an import none of whose names is
/// among them, those without the folder.
std::vector<std::string_view> names_in_store(const LogitStore& store, const RowOf& row_of, const std::string& path,
                                             const Dataset& dataset) {
  std::vector<std::string_view> full, bare;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    full.push_back(dataset.name(i));
    bare.push_back(without_folder(full.back()));
  }
  const auto known = [&](std::string_view name) { return row_of.contains(name); };
  if (!store.hashes.empty() || std::ranges::any_of(full, known) || std::ranges::none_of(bare, known)) return full;
  RowOf sample_of;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto [first, inserted] = sample_of.emplace(bare[static_cast<std::size_t>(i)], i);
    check(inserted, path, ": names files without their folders, but both ", dataset.name(first->second), " and ",
          dataset.name(i), " are there; name them with their folders");
  }
  return bare;
}

}  // namespace

std::vector<std::int64_t> match_logit_store(const LogitStore& store, const std::string& path, const Dataset& dataset) {
  if (dataset.labelled()) check_classes(store, path, dataset.classes());
  RowOf row_of;
  const std::int64_t samples = store.samples();
  for (std::int64_t row = 0; row < samples; ++row) row_of.emplace(store.names[static_cast<std::size_t>(row)], row);

  const std::vector<std::string_view> names = names_in_store(store, row_of, path, dataset);
  std::vector<std::int64_t> rows;
  std::vector<bool> used(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto found = row_of.find(names[static_cast<std::size_t>(i)]);
    if (found == row_of.end()) throw missing_rows(names, row_of, path, dataset, i);
    const auto row = static_cast<std::size_t>(found->second);
    if (!store.hashes.empty())
      check(store.hashes[row] == dataset.content_hash(i), dataset.name(i), ": its content changed since ", path,
            " was written; restore it or write the logits again");
    used[row] = true;
    rows.push_back(found->second);
  }
  // A table from elsewhere may well hold the validation part too.
  const auto extra = store.hashes.empty() ? used.end() : std::ranges::find(used, false);
  if (extra != used.end())
    throw Error(text(store.names[static_cast<std::size_t>(extra - used.begin())], ": has logits in ", path,
                     ", but is not among the images; restore it or write the logits again from these images"));
  return rows;
}

}  // namespace retort
