#include "engine/data/dustbin.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/data/pick.h"

namespace retort {
namespace {

/// Other labels for the samples of a set; `to[label]` is the new one.
class Relabelled : public Dataset {
 public:
  Relabelled(std::unique_ptr<Dataset> source, std::vector<std::int64_t> to, std::vector<std::string> classes)
      : source_(std::move(source)), to_(std::move(to)) {
    classes_ = std::move(classes);
    native_size_ = source_->native_size();
    native_channels_ = source_->native_channels();
  }
  std::int64_t size() const override { return source_->size(); }
  const std::string& name(std::int64_t index) const override { return source_->name(index); }
  std::int64_t label(std::int64_t index) const override { return to_[static_cast<std::size_t>(source_->label(index))]; }
  Image load(std::int64_t index) const override { return source_->load(index); }
  bool decoded(std::int64_t index) const override { return source_->decoded(index); }
  std::string content_hash(std::int64_t index) const override { return source_->content_hash(index); }

 private:
  std::unique_ptr<Dataset> source_;
  std::vector<std::int64_t> to_;
};

}  // namespace

SpecialistSet specialist_set(std::shared_ptr<const Dataset> source, const std::vector<std::int64_t>& classes,
                             std::uint64_t seed) {
  const auto dustbin = static_cast<std::int64_t>(classes.size());
  std::vector<std::int64_t> to(source->classes().size(), dustbin);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    to[static_cast<std::size_t>(classes[i])] = static_cast<std::int64_t>(i);
    names.push_back(source->classes()[static_cast<std::size_t>(classes[i])]);
  }
  check(std::ranges::find(names, kDustbin) == names.end(), "class ", kDustbin,
        ": specialists use this name for all other classes; rename it");
  names.emplace_back(kDustbin);

  std::vector<std::int64_t> special, others;
  for (std::int64_t i = 0; i < source->size(); ++i)
    (to[static_cast<std::size_t>(source->label(i))] == dustbin ? others : special).push_back(i);
  check(!special.empty() && !others.empty(), "specialists: ", special.size(), " images of ", names.front(),
        "'s group and ", others.size(), " of the other classes; both are needed");
  const std::size_t taken = std::min(special.size(), others.size());
  std::vector<std::int64_t> samples = special;
  const std::vector<std::int64_t> order =
      permutation(static_cast<std::int64_t>(others.size()), Random::of(seed, "dustbin"));
  for (std::size_t i = 0; i < taken; ++i) samples.push_back(others[static_cast<std::size_t>(order[i])]);
  std::ranges::sort(samples);
  SpecialistSet set;
  set.special = static_cast<std::int64_t>(special.size());
  set.others = static_cast<std::int64_t>(taken);
  set.oversampling = static_cast<double>(others.size()) / static_cast<double>(taken);
  set.images = std::make_unique<Relabelled>(pick_samples(std::move(source), std::move(samples)), std::move(to),
                                            std::move(names));
  return set;
}

}  // namespace retort
