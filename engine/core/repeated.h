// Names that must differ: classes, above all.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace retort {

/// The first that stands there a second time; null where they all differ.
inline const std::string* repeated(const std::vector<std::string>& names) {
  std::unordered_set<std::string_view> seen;
  for (const std::string& name : names)
    if (!seen.insert(name).second) return &name;
  return nullptr;
}

}  // namespace retort
