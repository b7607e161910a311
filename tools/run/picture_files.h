// Pictures that a command line names, as a set without labels.
#pragma once

#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace retort {

/// The pictures on standard input's name.
inline constexpr const char* kStandardInput = "-";

/// Files as they are; folders as the images within, at any depth, sorted. What a folder holds besides is said on stderr
/// unless quiet. Throws Error naming what is not there, and a folder without images.
std::vector<std::string> expand_pictures(const std::vector<std::string>& paths, bool quiet);

/// The files named on the command line, as an unlabelled set; - is standard input, read once.
class PictureFiles : public Dataset {
 public:
  /// With skip_bad those that can't be decoded are said on stderr and left out. Throws Error where none is left or
  /// standard input is empty, UsageError for - twice.
  PictureFiles(std::vector<std::string> files, bool skip_bad);
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  const std::string& name(std::int64_t index) const override { return files_[index]; }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t index) const override;
  std::string content_hash(std::int64_t index) const override;

 private:
  void read_standard_input();
  std::vector<std::uint8_t> bytes_of(const std::string& file) const;

  std::vector<std::string> files_;
  std::vector<std::uint8_t> input_;
};

}  // namespace retort
