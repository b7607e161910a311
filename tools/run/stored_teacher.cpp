#include "tools/run/stored_teacher.h"

#include <algorithm>
#include <cstdio>
#include <unordered_set>

#include "engine/core/check.h"
#include "engine/distill/gather_logits.h"
#include "tools/cli/progress.h"
#include "tools/run/views.h"

namespace retort {
namespace {

/// Images in the data's order, of which an array without names may hold one row each.
struct ImageSet {
  std::string what;
  std::vector<std::string> names;

  std::int64_t size() const { return static_cast<std::int64_t>(names.size()); }
};

ImageSet image_set(std::string what, const Dataset& dataset) {
  ImageSet set{std::move(what), {}};
  for (std::int64_t i = 0; i < dataset.size(); ++i) set.names.push_back(dataset.name(i));
  return set;
}

/// The sets of images that an array of logits without names may cover, each a part of the next: the images used, all
/// of their split (before --limit and --skip-bad), all of both splits. The last is left out where train and val are
/// folders of their own: names are then relative to the split's folder.
std::vector<ImageSet> possible_sets(const Dataset& dataset, Split split, const DataOptions& data,
                                    const CommonOptions& common) {
  std::vector<ImageSet> sets = {image_set("images used", dataset)};
  DataOptions all = data;
  all.limit.reset();
  all.skip_bad = false;
  all.cache.clear();
  CommonOptions quiet = common;
  quiet.quiet = true;
  const auto open = [&](const char* what, Split part, double val_split, bool whole) {
    DataOptions wanted = all;
    wanted.val_split = val_split;
    ImageSet set = image_set(what, *open_data(wanted, quiet, part, !dataset.labelled(), whole));
    const std::unordered_set<std::string_view> names(set.names.begin(), set.names.end());
    const bool holds_all = std::ranges::all_of(sets[0].names, [&](const auto& name) { return names.contains(name); });
    if (holds_all && set.size() > sets.back().size()) sets.push_back(std::move(set));
  };
  open(split == Split::train ? "images of the training part"
       : split == Split::val ? "images of the validation part"
                             : "images of the test part",
       split, data.val_split, false);
  const DataReading reading = read_data(data, !dataset.labelled());
  if (reading.val_split) open("images of both parts", Split::train, 0, false);
  if (reading.test || (reading.val && !reading.val_split))
    open("images of all parts", Split::train, data.val_split, true);
  return sets;
}

/// The names of a .npy's rows where there is one for each of the views beside it.
std::optional<std::vector<std::string>> view_names(const std::string& path, std::int64_t rows) {
  const std::optional<ViewList> list = view_list_beside(path);
  if (!list || list->rows() != rows) return std::nullopt;
  return row_names(*list);
}

/// Throws Error where some pictures are in no store.
void check_all_known(const std::vector<LogitStore>& stores, const std::vector<std::string>& paths,
                     const Dataset& images) {
  const auto without_folder = [](std::string_view name) { return name.substr(name.rfind('/') + 1); };
  std::unordered_set<std::string_view> known, known_alone;  // by a table that may leave the folder out
  for (const LogitStore& store : stores)
    for (const std::string& name : store.names) {
      known.insert(name);
      if (store.hashes.empty()) known_alone.insert(name);
    }
  std::int64_t missing = 0;
  std::string first;
  for (std::int64_t i = 0; i < images.size(); ++i) {
    const std::string& name = images.name(i);
    if (known.contains(name) || known_alone.contains(without_folder(name))) continue;
    if (missing++ == 0) first = name;
  }
  if (missing > 0)
    throw Error(text(first, ": has no logits in ", joined(paths),
                     missing > 1 ? text(", nor have ", missing - 1, " others") : "", " of the ", images.size(),
                     " pictures; add theirs, or leave these pictures out"));
}

/// In how many percent of the images the label has the highest logit: chance, if the rows are in another order.
std::string percent_right(const StoredTeacher& stored, const Dataset& dataset) {
  std::vector<float> row(static_cast<std::size_t>(stored.store.logits.classes()));
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    stored.store.logits.read(stored.rows[static_cast<std::size_t>(i)], row);
    right += std::ranges::max_element(row) - row.begin() == dataset.label(i);
  }
  char digits[16];
  std::snprintf(digits, sizeof digits, "%.1f", 100 * static_cast<double>(right) / static_cast<double>(dataset.size()));
  return digits;
}

/// The store at a path, in the classes of the student, as its own views where it has some.
LogitStore read_store(const std::string& path, const std::vector<std::string>& classes, const RowNames& names_of,
                      const Dataset& dataset, const ClassMap* map, bool quiet) {
  LogitStore store = read_logit_store(path, map ? std::vector<std::string>() : classes, names_of);
  if (map) {
    const ClassFold fold(*map, path, store.classes, classes);
    say(quiet, fold.remark());
    store.logits = fold(store.logits.tensor());
    store.classes = classes;
  }
  return read_as_views(std::move(store), path, dataset);
}

}  // namespace

StoredTeacher open_store(const std::string& path, const std::vector<std::string>& classes, const Dataset& dataset,
                         Split split, const DataOptions& data, const CommonOptions& common, const ClassMap* map) {
  std::string assumed;
  const auto names_of = [&](std::int64_t rows) {
    if (auto views = view_names(path, rows)) return std::move(*views);
    std::string expected;
    for (ImageSet& set : possible_sets(dataset, split, data, common)) {
      const std::string words = text(set.size(), " ", set.what);
      if (set.size() != rows) {
        expected += (expected.empty() ? "" : " or ") + words;
        continue;
      }
      assumed = text(path, ": no index names its rows: they are taken for the ", words, " in the data's order");
      return std::move(set.names);
    }
    throw Error(text(path, ": ", rows, " rows and no index that names them, expected one for each of ", expected,
                     ", in the data's order; save so many, or a CSV with names"));
  };
  StoredTeacher stored{read_store(path, classes, names_of, dataset, map, common.quiet), {}};
  if (!stored.store.remark.empty()) say(common.quiet, text("warning: ", stored.store.remark));
  try {
    stored.rows = match_logit_store(stored.store, path, dataset);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    if (!data.limit) throw;
    throw Error(text(error.what(), "; --limit ", *data.limit,
                     " leaves images out here: a store goes with the --limit that it was written with"));
  }
  if (!assumed.empty() && dataset.labelled())
    assumed += text("; the label has the highest score in ", percent_right(stored, dataset),
                    "% of the images used (fewer than the teacher gets right mean another order)");
  if (!assumed.empty()) say(common.quiet, text("warning: ", assumed));
  return stored;
}

StoredTeacher open_stores(const std::vector<std::string>& paths, const Dataset& images, const Dataset& labelled,
                          const UnlabelledSets& sets, const DataOptions& data, const CommonOptions& common,
                          const ClassMap* map) {
  std::vector<LogitStore> stores;
  for (const std::string& path : paths) {
    const auto names_of = [&](std::int64_t rows) {
      if (auto views = view_names(path, rows)) return std::move(*views);
      std::vector<ImageSet> possible = possible_sets(labelled, Split::train, data, common);
      for (const auto& set : sets) possible.push_back(image_set("images without labels", *set));
      std::erase_if(possible, [&](const ImageSet& set) { return set.size() != rows; });
      check(possible.size() == 1, path, ": ", rows, " rows and no index that names them, which are those of ",
            possible.empty() ? "no" : "more than one", " set of the pictures; save a CSV with names");
      say(common.quiet, text("warning: ", path, ": no index names its rows: they are taken for the ", rows, " ",
                             possible[0].what, " in the data's order"));
      return std::move(possible[0].names);
    };
    stores.push_back(read_store(path, labelled.classes(), names_of, images, map, common.quiet));
    if (!stores.back().remark.empty()) say(common.quiet, text("warning: ", stores.back().remark));
  }
  check_all_known(stores, paths, images);
  StoredTeacher stored{gather_logits(stores, paths, images), {}};
  for (std::int64_t i = 0; i < images.size(); ++i) stored.rows.push_back(i);
  return stored;
}

StoredTeacher part_of(const StoredTeacher& stored, const std::vector<std::int64_t>& samples) {
  StoredTeacher part{stored.store, {}};
  for (const std::int64_t sample : samples) part.rows.push_back(stored.rows[static_cast<std::size_t>(sample)]);
  return part;
}

}  // namespace retort
