#include "tools/run/picture_files.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <utility>

#include "engine/core/check.h"
#include "engine/data/folder_listing.h"
#include "engine/io/file.h"
#include "tools/cli/progress.h"

namespace retort {

namespace fs = std::filesystem;

std::vector<std::string> expand_pictures(const std::vector<std::string>& paths, bool quiet) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    check(path == kStandardInput || fs::exists(path), path, ": no such file; check the path");
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    const FolderListing listing = list_folder(path);
    for (const std::string& name : listing.flat) inside.push_back((fs::path(path) / name).generic_string());
    for (const auto& [folder, names] : listing.classes)
      for (const std::string& name : names) inside.push_back((fs::path(path) / name).generic_string());
    PassedOver passed;
    for (const auto& [key, files] : listing.passed.files())
      if (key.first != Unused::loose) passed.add_all(key.first, key.second, files);
    check(!inside.empty(), path, ": holds no images; give a folder of ", picture_kinds(), " files",
          passed.empty() ? "" : "; passed over: " + passed.sentence());
    if (!passed.empty()) say(quiet, text(path, ": passed over: ", passed.sentence()));
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

PictureFiles::PictureFiles(std::vector<std::string> files, bool skip_bad) {
  for (std::string& file : files) {
    if (file == kStandardInput) read_standard_input();
    if (skip_bad) {
      try {
        decode_image(bytes_of(file), file);
      } catch (const Error& error) {
        say(false, text("skipped: ", error.what()));
        continue;
      }
    }
    files_.push_back(std::move(file));
  }
  check(!files_.empty(), "IMAGE: --skip-bad left no image; check the files");
}

Image PictureFiles::load(std::int64_t index) const { return decode_image(bytes_of(files_[index]), files_[index]); }

std::string PictureFiles::content_hash(std::int64_t index) const {
  return retort::content_hash(bytes_of(files_[index]));
}

void PictureFiles::read_standard_input() {
  if (!input_.empty()) throw UsageError("IMAGE: - stands twice, and there is one picture on standard input");
  // One byte more than a picture may have: the decoder then says so.
  std::istreambuf_iterator<char> next(std::cin), end;
  while (next != end && input_.size() <= kMaxPictureBytes) input_.push_back(static_cast<std::uint8_t>(*next++));
  check(!input_.empty(), "-: nothing on standard input; pipe a picture into it");
}

std::vector<std::uint8_t> PictureFiles::bytes_of(const std::string& file) const {
  return file == kStandardInput ? input_ : read_picture(file);
}

}  // namespace retort
