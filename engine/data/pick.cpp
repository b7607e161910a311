#include "engine/data/pick.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/core/check.h"
#include "engine/io/file.h"

namespace retort {
namespace {

class Picked : public Dataset {
 public:
  Picked(std::shared_ptr<const Dataset> source, std::vector<std::int64_t> samples)
      : source_(std::move(source)), samples_(std::move(samples)) {
    classes_ = source_->classes();
    native_size_ = source_->native_size();
    native_channels_ = source_->native_channels();
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(samples_.size()); }
  const std::string& name(std::int64_t index) const override { return source_->name(at(index)); }
  std::int64_t label(std::int64_t index) const override { return source_->label(at(index)); }
  Image load(std::int64_t index) const override { return source_->load(at(index)); }
  bool decoded(std::int64_t index) const override { return source_->decoded(at(index)); }
  std::string content_hash(std::int64_t index) const override { return source_->content_hash(at(index)); }

 private:
  std::int64_t at(std::int64_t index) const { return samples_[static_cast<std::size_t>(index)]; }

  std::shared_ptr<const Dataset> source_;
  std::vector<std::int64_t> samples_;
};

}  // namespace

std::vector<std::int64_t> samples_without(const Dataset& dataset, const std::vector<std::string>& omitted) {
  if (!dataset.labelled())
    throw UsageError("--omit-classes: the images have no labels, so none can be told apart; leave it out");
  std::vector<bool> left_out(dataset.classes().size());
  for (const std::string& name : omitted) {
    const auto found = std::ranges::find(dataset.classes(), name);
    if (found == dataset.classes().end())
      throw UsageError(text("--omit-classes: no class '", name, "' in the data; give names of its classes"));
    left_out[static_cast<std::size_t>(found - dataset.classes().begin())] = true;
  }
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < dataset.size(); ++i)
    if (!left_out[static_cast<std::size_t>(dataset.label(i))]) kept.push_back(i);
  if (kept.empty()) throw UsageError("--omit-classes: leaves no image to train on; omit fewer");
  return kept;
}

HeldOut hold_out(const Dataset& dataset, double share) {
  std::vector<std::vector<std::pair<std::string, std::int64_t>>> groups(dataset.classes().size());
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const std::string& name = dataset.name(i);
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(name.data()), name.size());
    groups[static_cast<std::size_t>(dataset.label(i))].emplace_back(content_hash(bytes), i);
  }
  HeldOut parts;
  for (std::size_t c = 0; c < groups.size(); ++c) {
    auto& group = groups[c];
    const auto n = static_cast<std::int64_t>(group.size());
    check(n >= 2, "class ", dataset.classes()[c], ": ", n,
          " images to train on, and holding some out takes two; add more or leave the class out");
    std::ranges::sort(group);
    const auto taken = std::clamp<std::int64_t>(std::llround(share * static_cast<double>(n)), 1, n - 1);
    for (std::int64_t i = 0; i < n; ++i) (i < taken ? parts.held : parts.kept).push_back(group[i].second);
  }
  std::ranges::sort(parts.kept);
  std::ranges::sort(parts.held);
  return parts;
}

std::unique_ptr<Dataset> pick_samples(std::shared_ptr<const Dataset> source, std::vector<std::int64_t> samples) {
  return std::make_unique<Picked>(std::move(source), std::move(samples));
}

}  // namespace retort
