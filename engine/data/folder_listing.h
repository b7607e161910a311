// The pictures below a folder, by class or directly, and what else lies there. For this folder's own files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/data/reading.h"

namespace retort {

/// The kinds that are decoded, as a list: "jpg, jpeg, ... or gif".
const std::string& picture_kinds();
/// Whether a file's ending is one of them, in any case.
bool names_picture(const std::filesystem::path& path);

/// The visible entries of a folder, sorted by name; hidden pictures and folders are counted in `passed`, which may be
/// null. Throws Error if it can't be listed.
std::vector<std::filesystem::directory_entry> visible_entries(const std::filesystem::path& folder, PassedOver* passed);

/// What a folder holds: pictures by class, or directly.
struct FolderListing {
  std::map<std::string, std::vector<std::string>> classes;  ///< names start with the class; sorted
  std::vector<std::string> flat;                            ///< sorted
  std::vector<std::string> empty_folders;                   ///< without pictures, where others have some
  PassedOver passed;

  bool labelled() const { return !classes.empty(); }
  bool empty() const { return classes.empty() && flat.empty(); }
};

/// Links are followed. Throws Error for a folder that can't be listed or links to one that contains it.
FolderListing list_folder(const std::filesystem::path& folder);

/// Counts a file that is no picture, or of a kind that is not decoded, as passed over; `name` is an example of its
/// kind.
void pass_over_file(const std::filesystem::path& path, const std::string& name, PassedOver& passed);

/// Counts the pictures at any depth below `folder`, which is no part of the set, as passed over.
void pass_over_folder(const std::filesystem::path& folder, PassedOver& passed);

}  // namespace retort
