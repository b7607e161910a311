#include "engine/data/folder_listing.h"

#include <algorithm>
#include <cctype>

#include "engine/core/check.h"
#include "engine/data/webp.h"
#include "engine/io/folder.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

/// Pictures that are not decoded, so that a folder of them is not taken for one without pictures.
constexpr const char* kUnreadKinds[] = {".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg",
                                        ".ico",  ".psd",  ".raw",  ".dng",  ".cr2", ".cr3",  ".nef", ".arw", ".orf"};

std::string ending(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension;
}

const std::vector<std::string>& read_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> list = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif"};
    if (webp_supported()) list.emplace_back(".webp");
    return list;
  }();
  return kinds;
}

/// Appends the pictures at any depth below `folder`, each as prefix + its path from there. `above` holds the real paths
/// of the folders on the way here, because a link back to one of them would never end.
void find_pictures(const fs::path& folder, const std::string& prefix, std::vector<fs::path>& above,
                   std::vector<std::string>& names, PassedOver& passed) {
  const fs::path real = fs::canonical(folder);
  check(std::ranges::find(above, real) == above.end(), folder.string(),
        ": links to a folder that contains it; remove the link");
  above.push_back(real);
  for (const fs::directory_entry& entry : visible_entries(folder, &passed)) {
    const std::string name = prefix + entry.path().filename().string();
    std::error_code broken_link;  // listed all the same: reading it will say what is wrong
    if (entry.is_directory(broken_link))
      find_pictures(entry.path(), name + "/", above, names, passed);
    else if (names_picture(entry.path()) && !entry.is_other(broken_link))
      names.push_back(name);
    else
      pass_over_file(entry.path(), name, passed);
  }
  above.pop_back();
}

}  // namespace

const std::string& picture_kinds() {
  static const std::string list = [] {
    std::vector<std::string> words;
    for (const std::string& kind : read_kinds()) words.push_back(kind.substr(1));
    return alternatives(words);
  }();
  return list;
}

bool names_picture(const fs::path& path) { return std::ranges::find(read_kinds(), ending(path)) != read_kinds().end(); }

std::vector<fs::directory_entry> visible_entries(const fs::path& folder, PassedOver* passed) {
  std::vector<fs::directory_entry> entries;
  try {
    for (const std::string& name : names_in(folder)) {
      fs::directory_entry entry;
      std::error_code broken_link;
      entry.assign(folder / name, broken_link);
      if (!name.starts_with('.'))
        entries.push_back(entry);
      else if (passed != nullptr && entry.is_directory(broken_link))
        passed->add(Unused::hidden_folder, name, name);
      else if (passed != nullptr && names_picture(entry.path()))
        passed->add(Unused::hidden, ending(entry.path()), name);
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(text(folder.string(), ": can't be listed (", error.code().message(), "); check its permissions"));
  }
  std::ranges::sort(entries);
  return entries;
}

void pass_over_file(const fs::path& path, const std::string& name, PassedOver& passed) {
  const std::string kind = ending(path);
  const bool picture = std::ranges::find(kUnreadKinds, kind) != std::end(kUnreadKinds);
  passed.add(picture ? Unused::unread_kind : Unused::no_picture, kind.empty() ? path.filename().string() : kind, name);
}

FolderListing list_folder(const fs::path& folder) {
  FolderListing listing;
  for (const fs::directory_entry& entry : visible_entries(folder, &listing.passed)) {
    const std::string name = entry.path().filename().string();
    std::error_code broken_link;
    if (entry.is_directory(broken_link)) {
      std::vector<std::string> names;
      std::vector<fs::path> above;
      find_pictures(entry.path(), name + "/", above, names, listing.passed);
      std::ranges::sort(names);
      if (names.empty())
        listing.empty_folders.push_back(name);
      else
        listing.classes[name] = std::move(names);
    } else if (names_picture(entry.path()) && !entry.is_other(broken_link)) {
      listing.flat.push_back(name);
    } else {
      pass_over_file(entry.path(), name, listing.passed);
    }
  }
  if (listing.labelled())
    for (const std::string& name : listing.flat) listing.passed.add(Unused::loose, ending(name), name);
  return listing;
}

void pass_over_folder(const fs::path& folder, PassedOver& passed) {
  std::vector<std::string> names;
  std::vector<fs::path> above;
  PassedOver others;
  find_pictures(folder, folder.filename().string() + "/", above, names, others);
  for (const std::string& name : names) passed.add(Unused::beside_parts, folder.filename().string(), name);
  passed.merge(others);
}

}  // namespace retort
