// Opening a data set: recognise its form, choose the part, the classes and the number of samples.
#include "engine/data/dataset.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>
#include <thread>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/data/formats.h"
#include "engine/io/json.h"

namespace retort {
namespace {

using Indices = std::vector<std::int64_t>;

/// Sets one after the other, of the same classes.
class Joined final : public Dataset {
 public:
  explicit Joined(std::vector<std::unique_ptr<Dataset>> parts) : parts_(std::move(parts)) {
    classes_ = parts_.front()->classes();
    native_size_ = parts_.front()->native_size();
    native_channels_ = parts_.front()->native_channels();
    for (const auto& part : parts_) {
      if (part->native_size() != native_size_) native_size_ = 0;
      size_ += part->size();
    }
  }
  std::int64_t size() const override { return size_; }
  const std::string& name(std::int64_t index) const override { return part(index).name(index); }
  std::int64_t label(std::int64_t index) const override { return part(index).label(index); }
  Image load(std::int64_t index) const override { return part(index).load(index); }
  bool decoded(std::int64_t index) const override { return part(index).decoded(index); }
  std::string content_hash(std::int64_t index) const override { return part(index).content_hash(index); }

 private:
  /// The part that holds the sample; turns index into that part's own.
  const Dataset& part(std::int64_t& index) const {
    std::size_t p = 0;
    for (; index >= parts_[p]->size(); ++p) index -= parts_[p]->size();
    return *parts_[p];
  }
  std::vector<std::unique_ptr<Dataset>> parts_;
  std::int64_t size_ = 0;
};

/// Some samples of a set, their labels renumbered.
class Subset final : public Dataset {
 public:
  /// classes: a subset of source's, or empty for all of them.
  Subset(std::unique_ptr<Dataset> source, const std::vector<std::string>& classes) : source_(std::move(source)) {
    classes_ = classes.empty() ? source_->classes() : classes;
    native_size_ = source_->native_size();
    native_channels_ = source_->native_channels();
    for (const std::string& name : source_->classes()) {
      const auto found = std::ranges::find(classes_, name);
      label_of_.push_back(found == classes_.end() ? -1 : found - classes_.begin());
    }
    for (std::int64_t i = 0; i < source_->size(); ++i)
      if (!labelled() || label_of_[source_->label(i)] >= 0) indices_.push_back(i);
  }
  void set_reading(DataReading reading) { reading_ = std::make_shared<const DataReading>(std::move(reading)); }
  /// Keeps those of its samples whose positions are listed, in increasing order.
  void keep(const Indices& positions) {
    Indices kept;
    for (const std::int64_t position : positions) kept.push_back(indices_[position]);
    indices_ = std::move(kept);
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  const std::string& name(std::int64_t index) const override { return source_->name(indices_[index]); }
  std::int64_t label(std::int64_t index) const override {
    return labelled() ? label_of_[source_->label(indices_[index])] : -1;
  }
  Image load(std::int64_t index) const override { return source_->load(indices_[index]); }
  bool decoded(std::int64_t index) const override { return source_->decoded(indices_[index]); }
  std::string content_hash(std::int64_t index) const override { return source_->content_hash(indices_[index]); }

 private:
  std::unique_ptr<Dataset> source_;
  Indices indices_, label_of_;
};

/// The samples of each class (of all, if unlabelled) in an order that depends on names alone.
std::vector<Indices> ranked_by_name(const Dataset& dataset) {
  std::vector<Indices> groups(dataset.labelled() ? dataset.classes().size() : 1);
  for (std::int64_t i = 0; i < dataset.size(); ++i) groups[dataset.labelled() ? dataset.label(i) : 0].push_back(i);
  std::vector<std::uint64_t> hashes(dataset.size());
  for (std::int64_t i = 0; i < dataset.size(); ++i) hashes[i] = hash_name(dataset.name(i));
  for (Indices& group : groups)
    std::ranges::sort(group, [&](std::int64_t a, std::int64_t b) {
      return hashes[a] != hashes[b] ? hashes[a] < hashes[b] : dataset.name(a) < dataset.name(b);
    });
  return groups;
}

std::int64_t val_count(std::int64_t samples, double share) {
  if (share == 0 || samples < 2) return 0;
  return std::clamp<std::int64_t>(std::llround(share * static_cast<double>(samples)), 1, samples - 1);
}

void apply_val_split(Subset& subset, Split split, double share) {
  Indices kept;
  for (const Indices& group : ranked_by_name(subset)) {
    const auto middle = group.begin() + val_count(static_cast<std::int64_t>(group.size()), share);
    kept.insert(kept.end(), split == Split::val ? group.begin() : middle, split == Split::val ? middle : group.end());
  }
  std::ranges::sort(kept);
  subset.keep(kept);
}

/// Deals `limit` samples to the classes in turns, so that none has two more than another that has any left.
void apply_limit(Subset& subset, std::int64_t limit) {
  if (limit == 0 || limit >= subset.size()) return;
  const std::vector<Indices> groups = ranked_by_name(subset);
  Indices kept;
  for (std::size_t round = 0; static_cast<std::int64_t>(kept.size()) < limit; ++round)
    for (const Indices& group : groups)
      if (round < group.size() && static_cast<std::int64_t>(kept.size()) < limit) kept.push_back(group[round]);
  std::ranges::sort(kept);
  subset.keep(kept);
}

/// Decodes every sample once, unless that was done before, and leaves out those that can't be.
void skip_bad(Subset& subset, std::vector<std::string>* skipped) {
  std::vector<std::string> faults(subset.size());
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t i; (i = next++) < subset.size();) try {
        if (!subset.decoded(i)) subset.load(i);
      } catch (const std::exception& error) {
        faults[i] = error.what();
        faults[i].erase(std::min(faults[i].rfind("; "), faults[i].size()));  // its advice is being followed
      }
  };
  {
    std::vector<std::jthread> workers;
    for (unsigned t = 1; t < std::thread::hardware_concurrency(); ++t) workers.emplace_back(work);
    work();
  }
  Indices kept;
  for (std::int64_t i = 0; i < subset.size(); ++i) {
    if (faults[i].empty())
      kept.push_back(i);
    else if (skipped != nullptr)
      skipped->push_back(faults[i]);
    else
      std::cerr << "skipped " << faults[i] << '\n';
  }
  subset.keep(kept);
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

/// Where a lone class folder looks like a set of its own.
std::string advice(const DataReading& reading, const DatasetOptions& options) {
  if (reading.nested.size() != 1 || reading.classes.size() != 1)
    return "add class folders, or name more with --classes";
  const auto& [name, folders] = *reading.nested.begin();
  const std::string part = reading.train ? reading.train->folder : "";
  return text("it holds folders itself (", joined(std::vector(folders.begin(), folders.begin() + 2)),
              "...): if those are the classes, give --data ",
              (std::filesystem::path(options.path) / part / name).string());
}

void check_classes(const Dataset& source, const DataReading& reading, const DatasetOptions& options) {
  check(options.classes.empty() || source.labelled(), options.path,
        ": its images have no labels, so --classes has nothing to choose from; leave it out");
  for (const std::string& name : source.classes())
    check(is_utf8(name), options.path, ": the class '", name, "' has a name that is not UTF-8; rename it");
  std::set<std::string> seen;
  for (const std::string& name : options.classes) {
    if (!seen.insert(name).second) throw UsageError(text("--classes: names '", name, "' twice; name it once"));
    check(std::ranges::find(source.classes(), name) != source.classes().end(), options.path, ": no class '", name,
          "'; it has ", joined(source.classes()), "; correct --classes");
  }
  const std::size_t classes = options.classes.empty() ? source.classes().size() : options.classes.size();
  check(!source.labelled() || classes >= 2, options.path, ": one class only ('",
        source.labelled() ? (options.classes.empty() ? source.classes() : options.classes)[0] : "",
        "'), expected at least two; ", advice(reading, options));
}

SplitOpeners recognise(const DatasetOptions& options) {
  check(std::filesystem::exists(options.path), options.path, ": no such folder; correct --data");
  check(std::filesystem::is_directory(options.path), options.path,
        ": is a file, expected a folder of class folders, or of MNIST's or CIFAR's files; correct --data");
  if (auto parts = recognise_idx(options.path)) return *parts;
  if (auto parts = recognise_cifar(options.path)) return *parts;
  return recognise_image_folder(options);
}

/// Adds what the options decide to what the folder holds.
DataReading complete(const SplitOpeners& parts, const DatasetOptions& options) {
  DataReading reading = parts.reading;
  reading.path = options.path;
  if (parts.train && !reading.train) reading.train.emplace();
  if (parts.test && !reading.test) reading.test.emplace();
  if (parts.val || !parts.train || options.val_split == 0 || options.whole) return reading;
  reading.val_split = options.val_split;
  reading.val = DataReading::Part{.folder = reading.train->folder, .samples = {}};
  if (!reading.train->samples) return reading;
  std::int64_t held = 0;
  for (const std::int64_t count : parts.train_counts) held += val_count(count, options.val_split);
  reading.val->samples = held;
  *reading.train->samples -= held;
  return reading;
}

void check_options(const DatasetOptions& options) {
  if (!(options.val_split >= 0 && options.val_split < 1))
    throw UsageError(text("--val-split: ", options.val_split, " is not in [0, 1); choose a share such as 0.1"));
  if (options.limit < 0) throw UsageError(text("--limit: ", options.limit, " is negative; give a number of samples"));
}

std::unique_ptr<Dataset> open_whole(const SplitOpeners& parts, const DatasetOptions& options) {
  std::vector<std::unique_ptr<Dataset>> opened;
  for (const SplitOpeners::Open* open : {&parts.train, &parts.val, &parts.test})
    if (*open) opened.push_back((*open)());
  for (const auto& part : opened)
    check(part->labelled() == opened.front()->labelled(), options.path,
          ": one of its parts has class folders, the other none; sort both into class folders, or choose one part "
          "with --split");
  if (opened.size() == 1) return std::move(opened.front());
  return std::make_unique<Joined>(std::move(opened));
}

std::unique_ptr<Dataset> open_part(const SplitOpeners& parts, const DatasetOptions& options) {
  if (options.split == Split::test) {
    check(static_cast<bool>(parts.test), options.path, ": has no test part; give it a folder test/, or choose --split ",
          parts.val ? "val" : "val, a share of its own");
    return parts.test();
  }
  if (options.split == Split::val && parts.val) return parts.val();
  check(static_cast<bool>(parts.train), options.path, ": has a part for ", parts.val ? "validation" : "testing",
        " but none for training; add the training part, or choose --split ", parts.val ? "val" : "test");
  return parts.train();
}

}  // namespace

DataReading read_dataset(const DatasetOptions& options) {
  check_options(options);
  return complete(recognise(options), options);
}

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options) {
  check_options(options);
  const SplitOpeners parts = recognise(options);
  if (!options.cache.empty() && !parts.open_cache)
    throw UsageError(text("--cache: the images of ", options.path, " are decoded as they are; leave it out"));
  std::unique_ptr<Dataset> source = options.whole ? open_whole(parts, options) : open_part(parts, options);
  check(source->size() > 0, options.path, ": its files hold no samples; give it other files");
  DataReading reading = complete(parts, options);
  check_classes(*source, reading, options);
  reading.classes = options.classes.empty() ? source->classes() : options.classes;

  auto subset = std::make_unique<Subset>(std::move(source), options.classes);
  check(subset->size() > 0, options.path, ": no samples of ", joined(options.classes), "; choose other --classes");
  subset->set_reading(std::move(reading));
  if (!options.whole && options.split != Split::test && !parts.val)
    apply_val_split(*subset, options.split, options.val_split);
  if (subset->size() == 0)
    throw NoSamples(text(options.path, ": no samples for validation; give it files of its own or raise --val-split"));
  apply_limit(*subset, options.limit);
  if (!options.cache.empty()) {
    PixelCacheHooks hooks = options.cache_hooks;
    if (!hooks.remark) hooks.remark = [](const std::string& line) { std::cerr << line << '\n'; };
    if (!hooks.progress) hooks.progress = [](std::int64_t, std::int64_t) {};
    parts.open_cache(hooks);
  }
  if (options.skip_bad) {
    skip_bad(*subset, options.skipped);
    check(subset->size() > 0, options.path, ": none of its images can be decoded; give it other files");
  }
  return subset;
}

}  // namespace retort
