// The views of a data set's pictures as files: what `retort views` writes so that a model elsewhere can score the very
// pictures that a student will see, and how its table of scores is read.
//
// Folder: NAME.K.png, view K of the picture NAME, in NAME's own subfolder; names.csv (name, view, file), view after
// view; views.json: format "retort-views", version 1, views, augmentation, seed, image_size, names, hashes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/distill/logit_store.h"

namespace retort {

struct ViewList {
  std::int64_t views = 1;
  Augmentation augmentation;
  std::uint64_t seed = 0;
  std::int64_t image_size = 0;
  std::vector<std::string> names, hashes;  ///< of the pictures

  std::int64_t rows() const { return views * static_cast<std::int64_t>(names.size()); }
};

/// "cat/001.jpg.0", whose file is that and ".png".
std::string view_name(const std::string& name, std::int64_t view);

inline constexpr const char* kViewListFile = "views.json";

/// Writes views.json and names.csv.
void write_view_list(const std::string& folder, const ViewList& list);
/// The views.json in a table's own folder, if there is one. Throws Error for one of another
/// version or that lacks something.
std::optional<ViewList> view_list_beside(const std::string& table);
/// The rows' names as names.csv has them, view after view.
std::vector<std::string> row_names(const ViewList& list);

/// A table of scores as a store of all views, where its rows are the views of the views.json beside it; else the table
/// itself. Throws Error naming the first view without a row, and for rows that are views of the dataset's pictures
/// where no views.json says how these were drawn.
LogitStore read_as_views(LogitStore table, const std::string& path, const Dataset& dataset);

}  // namespace retort
