#include "engine/data/joined.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "engine/core/check.h"

namespace retort {
namespace {

class PartlyLabelled final : public Dataset {
 public:
  /// The first part has the labels.
  explicit PartlyLabelled(std::vector<std::shared_ptr<const Dataset>> parts) : parts_(std::move(parts)) {
    const Dataset& labelled = *parts_.front();
    classes_ = labelled.classes();
    native_channels_ = labelled.native_channels();
    native_size_ = labelled.native_size();
    for (const auto& part : parts_) {
      begins_.push_back(size_);
      size_ += part->size();
      if (part->native_size() != native_size_) native_size_ = 0;
    }
  }
  std::int64_t size() const override { return size_; }
  const std::string& name(std::int64_t index) const override { return part(index).name(index); }
  std::int64_t label(std::int64_t index) const override {
    return index < parts_.front()->size() ? parts_.front()->label(index) : -1;
  }
  Image load(std::int64_t index) const override { return part(index).load(index); }
  bool decoded(std::int64_t index) const override { return part(index).decoded(index); }
  std::string content_hash(std::int64_t index) const override { return part(index).content_hash(index); }

 private:
  /// The part that holds the sample; turns index into that part's own.
  const Dataset& part(std::int64_t& index) const {
    const auto after = std::ranges::upper_bound(begins_, index);
    const auto at = static_cast<std::size_t>(after - begins_.begin()) - 1;
    index -= begins_[at];
    return *parts_[at];
  }
  std::vector<std::shared_ptr<const Dataset>> parts_;
  std::vector<std::int64_t> begins_;  ///< each part's first sample
  std::int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Dataset> join_unlabelled(std::shared_ptr<const Dataset> labelled,
                                         std::vector<std::shared_ptr<const Dataset>> unlabelled) {
  if (!labelled->labelled())
    throw UsageError("--unlabelled: the images of --data have no labels either; give them all with --data");
  std::vector<std::shared_ptr<const Dataset>> parts = std::move(unlabelled);
  parts.insert(parts.begin(), std::move(labelled));
  std::unordered_set<std::string_view> names;
  for (const auto& part : parts)
    for (std::int64_t i = 0; i < part->size(); ++i)
      check(names.insert(part->name(i)).second, part->name(i),
            ": two of the images are called so, and logits are found by name; rename one of them");
  return std::make_unique<PartlyLabelled>(std::move(parts));
}

std::int64_t labelled_samples(const Dataset& dataset) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) count += dataset.labelled(i);
  return count;
}

}  // namespace retort
