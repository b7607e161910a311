// Folders of images: PATH/<class>/**, in PATH itself or in PATH/train, PATH/val and PATH/test; or a flat, unlabelled
// folder.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <set>

#include "engine/core/check.h"
#include "engine/data/folder_listing.h"
#include "engine/data/formats.h"
#include "engine/io/file.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

bool wanted(const DatasetOptions& options, const std::string& name) {
  return options.classes.empty() || std::ranges::find(options.classes, name) != options.classes.end();
}

FolderListing list_part(const fs::path& folder, const DatasetOptions& options) {
  FolderListing listing = list_folder(folder);
  for (const std::string& name : listing.empty_folders) {
    if (!listing.labelled() || !wanted(options, name)) continue;
    const std::string unread = listing.passed.unread_kinds();
    throw Error(
        text((folder / name).string(), ": a class folder without images, expected ", picture_kinds(), " files",
             unread.empty() ? "" : text(" (", folder.string(), " holds ", unread, ", which this build does not read)"),
             "; add some, remove the folder, or name the classes to use with --classes"));
  }
  return listing;
}

/// The images of a set's folder, decoded, once that is asked for: its parts share it.
using SharedCache = std::shared_ptr<std::unique_ptr<const PixelCache>>;

class ImageFolder final : public Dataset {
 public:
  /// Files are root/folder/name, folder "" or ending with a slash; names are those of the listing with `prefix` before
  /// them.
  ImageFolder(fs::path root, std::string folder, const std::string& prefix, const FolderListing& listing,
              SharedCache cache)
      : root_(std::move(root)), folder_(std::move(folder)), cache_(std::move(cache)) {
    for (const auto& [name, files] : listing.classes) {
      for (const std::string& file : files) add(prefix + file, static_cast<std::int64_t>(classes_.size()));
      classes_.push_back(name);
    }
    if (!listing.labelled())
      for (const std::string& file : listing.flat) add(prefix + file, -1);
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t index) const override { return names_[index]; }
  std::int64_t label(std::int64_t index) const override { return labels_[index]; }
  Image load(std::int64_t index) const override {
    if (*cache_)
      if (std::optional<Image> image = (*cache_)->load(folder_ + names_[index])) return *std::move(image);
    const std::string file = path(index);
    return decode_image(read_picture(file), file);
  }
  bool decoded(std::int64_t index) const override { return *cache_ && (*cache_)->decoded(folder_ + names_[index]); }
  std::string content_hash(std::int64_t index) const override {
    if (*cache_)
      if (std::optional<std::string> hash = (*cache_)->content_hash(folder_ + names_[index])) return *std::move(hash);
    return file_hash(path(index));
  }

 private:
  void add(std::string name, std::int64_t label) {
    names_.push_back(std::move(name));
    labels_.push_back(label);
  }
  std::string path(std::int64_t index) const { return (root_ / (folder_ + names_[index])).string(); }

  fs::path root_;
  std::string folder_;
  SharedCache cache_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> labels_;
};

/// The images of a part that are used, each as prefix + its name.
std::vector<std::string> images_of(const FolderListing& listing, const std::string& prefix,
                                   const DatasetOptions& options) {
  std::vector<std::string> images;
  for (const auto& [name, files] : listing.classes)
    if (wanted(options, name))
      for (const std::string& file : files) images.push_back(prefix + file);
  if (!listing.labelled())
    for (const std::string& file : listing.flat) images.push_back(prefix + file);
  return images;
}

/// Throws Error if a part's images can't be used as they are.
void check_part(const fs::path& folder, const FolderListing& listing, const DatasetOptions& options) {
  const std::string path = folder.string(), passed = listing.passed.sentence();
  check(!listing.empty(), path, ": no images found; expected class folders (", path, "/<class>/) of ", picture_kinds(),
        " files, or the files of MNIST or CIFAR", passed.empty() ? "" : "; passed over: " + passed);
  check(listing.labelled() || options.allow_unlabelled, path, ": ", listing.flat.size(),
        " images without class folders, but labels are needed; sort them into ", path, "/<class>/");
}

/// A part's folder and what is in it.
struct Part {
  fs::path folder;  ///< empty: no such part
  FolderListing listing = {};

  bool there() const { return !folder.empty(); }
  std::string name() const { return folder.filename().string(); }
};

/// Throws Error naming a class that one part has and the other lacks.
void check_same_classes(const Part& here, const Part& there, const DatasetOptions& options) {
  if (!here.listing.labelled() || !there.listing.labelled()) return;
  for (const auto& [name, files] : here.listing.classes)
    check(there.listing.classes.contains(name) || !wanted(options, name), there.folder.string(), ": class '", name,
          "' is missing, but ", here.folder.string(), " has it; both parts need the same class folders");
}

std::string lower(std::string word) {
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

/// The folder, in any case, that one of the words names; or none. Throws Error where two do.
fs::path find_part(const std::vector<fs::directory_entry>& entries, std::initializer_list<const char*> words) {
  fs::path found;
  for (const fs::directory_entry& entry : entries) {
    std::error_code broken_link;
    if (!entry.is_directory(broken_link)) continue;
    const std::string name = lower(entry.path().filename().string());
    if (std::ranges::find(words, name) == words.end()) continue;
    check(found.empty(), entry.path().string(), ": is the same part as ", found.string(), "; keep one of the two");
    found = entry.path();
  }
  return found;
}

bool holds_folders(const fs::path& folder) {
  return std::ranges::any_of(visible_entries(folder, nullptr), [](const fs::directory_entry& entry) {
    std::error_code broken_link;
    return entry.is_directory(broken_link);
  });
}

/// The parts that a folder has as folders of its own; none: it is one itself.
struct Parts {
  Part train, val, test;

  bool any() const { return train.there() || val.there() || test.there(); }
  std::vector<const Part*> all() const {
    std::vector<const Part*> list;
    for (const Part* part : {&train, &val, &test})
      if (part->there()) list.push_back(part);
    return list;
  }
};

Parts find_parts(const fs::path& root, const std::vector<fs::directory_entry>& entries) {
  Parts parts{{find_part(entries, {"train", "training"})},
              {find_part(entries, {"val", "valid", "validation"})},
              {find_part(entries, {"test", "testing"})}};
  if (parts.train.there()) return parts;
  // Without train/, a folder named val or test is a part only if class folders are in it; else it may well be a class.
  for (Part* part : {&parts.val, &parts.test})
    if (part->there() && !holds_folders(part->folder)) part->folder.clear();
  if (!parts.any()) return parts;
  const std::size_t folders =
      static_cast<std::size_t>(std::ranges::count_if(entries, [](const auto& entry) { return entry.is_directory(); }));
  check(folders == parts.all().size(), parts.all().front()->folder.string(), ": stands beside class folders, expected ",
        (root / "train").string(), " to hold those; move the class folders for training there");
  return parts;
}

/// Adds what lies beside the parts, in none of them.
PassedOver beside(const std::vector<fs::directory_entry>& entries, const Parts& parts, PassedOver passed) {
  for (const fs::directory_entry& entry : entries) {
    const std::vector<const Part*> all = parts.all();
    std::error_code broken_link;
    if (std::ranges::any_of(all, [&](const Part* part) { return part->folder == entry.path(); })) continue;
    if (entry.is_directory(broken_link))
      pass_over_folder(entry.path(), passed);
    else if (names_picture(entry.path()))
      passed.add(Unused::beside_parts, ".", entry.path().filename().string());
    else
      pass_over_file(entry.path(), entry.path().filename().string(), passed);
  }
  return passed;
}

/// Folders within class folders, where a class has several.
void note_nested(const FolderListing& listing, std::map<std::string, std::vector<std::string>>& nested) {
  for (const auto& [name, files] : listing.classes) {
    std::set<std::string> folders;
    for (const std::string& file : files)
      if (const std::size_t end = file.find('/', name.size() + 1); end != file.npos)
        folders.insert(file.substr(name.size() + 1, end - name.size() - 1));
    if (folders.size() > 1) nested[name].assign(folders.begin(), folders.end());
  }
}

DataReading::Part reading_of(const std::string& folder, const FolderListing& listing, const DatasetOptions& options) {
  return {folder, static_cast<std::int64_t>(images_of(listing, "", options).size())};
}

/// What the reading says of a listing, whichever part it is.
void add_to_reading(const FolderListing& listing, const DatasetOptions& options, DataReading& reading) {
  reading.passed_over.merge(listing.passed);
  note_nested(listing, reading.nested);
  if (!reading.classes.empty()) return;
  for (const auto& [name, files] : listing.classes)
    if (wanted(options, name)) reading.classes.push_back(name);
}

std::vector<std::int64_t> counts_of(const FolderListing& listing, const DatasetOptions& options) {
  std::vector<std::int64_t> counts;
  for (const auto& [name, files] : listing.classes)
    if (wanted(options, name)) counts.push_back(static_cast<std::int64_t>(files.size()));
  if (!listing.labelled()) counts.push_back(static_cast<std::int64_t>(listing.flat.size()));
  return counts;
}

SplitOpeners undivided_folder(const fs::path& root, const DatasetOptions& options, const SharedCache& cache) {
  const FolderListing listing = list_part(root, options);
  check_part(root, listing, options);
  SplitOpeners openers{
      .train = [=] { return std::make_unique<ImageFolder>(root, "", "", listing, cache); }, .val = {}, .test = {}};
  openers.reading.form = listing.labelled() ? "folder of classes" : "flat folder";
  openers.reading.train = reading_of("", listing, options);
  add_to_reading(listing, options, openers.reading);
  openers.train_counts = counts_of(listing, options);
  openers.images = images_of(listing, "", options);
  return openers;
}

SplitOpeners divided_folder(const fs::path& root, Parts& parts, const PassedOver& passed, const DatasetOptions& options,
                            const SharedCache& cache) {
  for (Part* part : {&parts.train, &parts.val, &parts.test}) {
    if (!part->there()) continue;
    part->listing = list_part(part->folder, options);
    // A test part without labels is there to predict on.
    const bool may_lack_labels = part == &parts.test && options.split != Split::test;
    if (!may_lack_labels || part->listing.empty()) check_part(part->folder, part->listing, options);
  }
  const std::vector<const Part*> all = parts.all();
  for (const Part* here : all)
    for (const Part* there : all) check_same_classes(*here, *there, options);

  const bool several = options.whole && all.size() > 1;  // their names must not collide
  SplitOpeners openers;
  openers.reading.form = all.front()->listing.labelled() ? "folder of classes" : "flat folder";
  openers.reading.passed_over = passed;
  const auto open = [&](const Part& part, std::optional<DataReading::Part>& reading) -> SplitOpeners::Open {
    if (!part.there()) return {};
    const std::string folder = part.name() + "/";
    reading = reading_of(folder, part.listing, options);
    add_to_reading(part.listing, options, openers.reading);
    std::ranges::move(images_of(part.listing, folder, options), std::back_inserter(openers.images));
    return [=, listing = part.listing] {
      return std::make_unique<ImageFolder>(root, several ? "" : folder, several ? folder : "", listing, cache);
    };
  };
  openers.train = open(parts.train, openers.reading.train);
  openers.val = open(parts.val, openers.reading.val);
  openers.test = open(parts.test, openers.reading.test);
  openers.train_counts = counts_of(parts.train.listing, options);
  return openers;
}

}  // namespace

SplitOpeners recognise_image_folder(const DatasetOptions& options) {
  const fs::path root(options.path);
  const auto cache = std::make_shared<std::unique_ptr<const PixelCache>>();
  PassedOver hidden;
  const std::vector<fs::directory_entry> entries = visible_entries(root, &hidden);
  Parts parts = find_parts(root, entries);
  SplitOpeners openers = parts.any() ? divided_folder(root, parts, beside(entries, parts, hidden), options, cache)
                                     : undivided_folder(root, options, cache);
  openers.open_cache = [=, file = options.cache, images = openers.images](const PixelCacheHooks& hooks) {
    *cache = std::make_unique<const PixelCache>(file, root.string(), images, hooks);
  };
  return openers;
}

}  // namespace retort
