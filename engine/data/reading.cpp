#include "engine/data/reading.h"

#include <algorithm>

#include "engine/core/check.h"

namespace retort {
namespace {

constexpr std::size_t kExamples = 3, kListedClasses = 10;

std::string counted(std::int64_t count, const char* one, const char* many) {
  return text(count, " ", count == 1 ? one : many);
}

/// "a, b and c".
std::string enumeration(const std::vector<std::string>& words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i)
    list += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return list;
}

/// A name with a comma of its own is quoted.
std::string listed(const std::vector<std::string>& words, std::size_t limit) {
  std::string list;
  for (std::size_t i = 0; i < std::min(words.size(), limit); ++i)
    list += (i == 0 ? "" : ", ") + (words[i].find(',') == std::string::npos ? words[i] : "'" + words[i] + "'");
  return words.size() > limit ? list + ", ..." : list;
}

/// The part's folder as it is shown, "train/: ".
std::string place(const DataReading::Part& part) { return part.folder.empty() ? "" : part.folder + ": "; }

std::string pictures(const DataReading::Part& part) {
  return part.samples ? counted(*part.samples, "picture", "pictures") : std::string("pictures");
}

}  // namespace

const char* to_string(Unused why) {
  switch (why) {
    case Unused::unread_kind: return "unread_kind";
    case Unused::no_picture: return "no_picture";
    case Unused::hidden: return "hidden";
    case Unused::hidden_folder: return "hidden_folder";
    case Unused::loose: return "beside_class_folders";
    case Unused::beside_parts: return "beside_parts";
  }
  return "";
}

void PassedOver::add(Unused why, const std::string& what, const std::string& example) {
  Files& files = files_[{why, what}];
  ++files.count;
  files.examples.insert(example);
  if (files.examples.size() > kExamples) files.examples.erase(std::prev(files.examples.end()));
}

void PassedOver::add_all(Unused why, const std::string& what, const Files& files) {
  Files& own = files_[{why, what}];
  own.count += files.count;
  own.examples.insert(files.examples.begin(), files.examples.end());
  while (own.examples.size() > kExamples) own.examples.erase(std::prev(own.examples.end()));
}

void PassedOver::merge(const PassedOver& other) {
  for (const auto& [key, files] : other.files_) add_all(key.first, key.second, files);
}

std::int64_t PassedOver::count(Unused why) const {
  std::int64_t count = 0;
  for (const auto& [key, files] : files_)
    if (key.first == why) count += files.count;
  return count;
}

std::string PassedOver::unread_kinds() const {
  std::vector<std::string> kinds;
  for (const auto& [key, files] : files_)
    if (key.first == Unused::unread_kind) kinds.push_back(text(files.count, " ", key.second));
  return enumeration(kinds);
}

std::string PassedOver::sentence() const {
  std::string all;
  const auto append = [&](const std::string& part) { all += (all.empty() ? "" : "; ") + part; };
  const auto names_of = [&](Unused why, bool kinds) {
    std::vector<std::string> names;
    for (const auto& [key, files] : files_) {
      if (key.first != why) continue;
      if (kinds)
        names.push_back(key.second);
      else
        names.insert(names.end(), files.examples.begin(), files.examples.end());
    }
    return listed(names, kExamples);
  };
  if (const std::string kinds = unread_kinds(); !kinds.empty())
    append(kinds + ", which this build does not read: convert them to JPEG or PNG");
  if (const std::int64_t n = count(Unused::loose))
    append(text(counted(n, "picture", "pictures"), " beside the class folders, of no class (",
                names_of(Unused::loose, false), ")"));
  if (const std::int64_t n = count(Unused::beside_parts))
    append(text(counted(n, "picture", "pictures"), " beside the parts, in none of them (",
                names_of(Unused::beside_parts, false), ")"));
  if (const std::int64_t n = count(Unused::hidden))
    append(text(counted(n, "hidden picture", "hidden pictures"), " (", names_of(Unused::hidden, false), ")"));
  if (const std::int64_t n = count(Unused::hidden_folder))
    append(text(counted(n, "hidden folder", "hidden folders"), " (", names_of(Unused::hidden_folder, false), ")"));
  if (const std::int64_t n = count(Unused::no_picture))
    append(text(counted(n, "file that is no picture", "files that are no pictures"), " (",
                names_of(Unused::no_picture, true), ")"));
  return all;
}

std::string describe(const DataReading& reading) {
  std::string line = reading.path + ": ";
  if (reading.classes.empty())
    line += text(reading.form, ", no labels");
  else if (reading.form != "folder of classes")
    line += text(reading.form, ", ", reading.classes.size(), " classes");
  else
    line += text(counted(static_cast<std::int64_t>(reading.classes.size()), "class", "classes"), " (",
                 listed(reading.classes, kListedClasses), ")");
  const bool parts = reading.val || reading.test;
  if (reading.train) line += text("; ", place(*reading.train), pictures(*reading.train), parts ? " to train on" : "");
  if (reading.val) line += text("; ", place(*reading.val), pictures(*reading.val), " to validate");
  if (reading.val && reading.val_split) line += text(", chosen by name (--val-split ", *reading.val_split, ")");
  if (reading.test) line += text("; ", place(*reading.test), pictures(*reading.test), " to test, which choose nothing");
  if (!reading.nested.empty()) {
    const auto& [name, folders] = *reading.nested.begin();
    line += text("; a class is a folder of the first level: ", name, "/ holds folders itself (",
                 listed(folders, kExamples), "), all of class ", name);
    if (reading.nested.size() > 1)
      line += text(", and so ", counted(static_cast<std::int64_t>(reading.nested.size()) - 1, "other class", "others"));
  }
  return line;
}

}  // namespace retort
