// How a folder became a data set: which part is used for what, and what was passed over and why.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace retort {

/// Why files of a folder are not among its samples.
enum class Unused : std::uint8_t {
  unread_kind,    ///< pictures of a kind that this build does not decode
  no_picture,     ///< files of another kind
  hidden,         ///< pictures whose name begins with a dot
  hidden_folder,  ///< folders whose name begins with a dot, counted and not searched
  loose,          ///< pictures beside class folders
  beside_parts,   ///< pictures beside train/, or in a folder beside it that is no part
};

/// Files passed over, counted by the reason and by what names them: an ending (".heic"), or a folder.
class PassedOver {
 public:
  struct Files {
    std::int64_t count = 0;
    std::set<std::string> examples;  ///< the first three names in order
  };

  void add(Unused why, const std::string& what, const std::string& example);
  void add_all(Unused why, const std::string& what, const Files& files);
  void merge(const PassedOver& other);
  bool empty() const { return files_.empty(); }
  std::int64_t count(Unused why) const;
  const std::map<std::pair<Unused, std::string>, Files>& files() const { return files_; }
  /// "20 .webp and 1 .heic, which ...; 2 pictures beside the class folders (a.jpg, b.jpg)", or "".
  std::string sentence() const;
  /// The part of the sentence about kinds that are not decoded: "20 .webp and 1 .heic", or "".
  std::string unread_kinds() const;

 private:
  std::map<std::pair<Unused, std::string>, Files> files_;
};

/// The word for a reason in --json: "unread_kind", ...
const char* to_string(Unused why);

struct DataReading {
  /// Where a part comes from. `folder` is "" where the set's own folder, or a share of another part, is the part.
  struct Part {
    std::string folder;
    std::optional<std::int64_t> samples;  ///< before --limit; none: not counted
  };

  std::string path;
  std::string form;  ///< "folder of classes", "flat folder", "MNIST's files", "CIFAR's files"
  std::vector<std::string> classes;
  std::optional<Part> train, val, test;
  std::optional<double> val_split;                         ///< the share of train that is val
  std::map<std::string, std::vector<std::string>> nested;  ///< folders within a class's folder, where there are several
  PassedOver passed_over;

  /// The set is one folder without parts of its own.
  bool undivided() const { return train && train->folder.empty() && (!val || val_split) && !test; }
};

/// "photos: 2 classes (cat, dog); train/: 120 pictures to train on, Val/: 30 to validate; ...".
std::string describe(const DataReading& reading);

}  // namespace retort
