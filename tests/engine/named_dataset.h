// A labelled dataset that has names and no pixels.
#pragma once

#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace retort::test {

/// `counts[c]` samples of class c, named "c/i".
class Named final : public Dataset {
 public:
  explicit Named(const std::vector<int>& counts) {
    for (std::size_t c = 0; c < counts.size(); ++c) {
      classes_.push_back("class" + std::to_string(c));
      for (int i = 0; i < counts[c]; ++i) {
        names_.push_back(std::to_string(c) + "/" + std::to_string(i));
        labels_.push_back(static_cast<std::int64_t>(c));
      }
    }
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t index) const override { return names_[static_cast<std::size_t>(index)]; }
  std::int64_t label(std::int64_t index) const override { return labels_[static_cast<std::size_t>(index)]; }
  Image load(std::int64_t) const override { return {}; }
  std::string content_hash(std::int64_t) const override { return {}; }

 private:
  std::vector<std::string> names_;
  std::vector<std::int64_t> labels_;
};

}  // namespace retort::test
