// Folders of images: PATH/<class>/**, in PATH itself or in PATH/train and PATH/val; or a flat, unlabelled folder.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "engine/core/check.h"
#include "engine/data/formats.h"
#include "engine/io/file.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKinds = "jpg, jpeg, png, bmp, ppm, pgm or gif";

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool names_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif"})
    if (extension == known) return true;
  return false;
}

/// The visible entries of a folder. Throws Error if it can't be listed.
std::vector<fs::directory_entry> list(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (!hidden(it->path())) entries.push_back(*it);
  check(!error, folder.string(), ": can't be listed (", error.message(), "); check its permissions");
  return entries;
}

/// Appends the images at any depth below `folder`, each as prefix + its path from there. Links are followed; `above`
/// holds the real paths of the folders on the way here, because a link back to one of them would never end.
void find_images(const fs::path& folder, const std::string& prefix, std::vector<fs::path>& above,
                 std::vector<std::string>& names) {
  const fs::path real = fs::canonical(folder);
  check(std::ranges::find(above, real) == above.end(), folder.string(),
        ": links to a folder that contains it; remove the link");
  above.push_back(real);
  for (const fs::directory_entry& entry : list(folder)) {
    const std::string name = prefix + entry.path().filename().string();
    std::error_code broken_link;  // listed all the same: reading it will say what is wrong
    if (entry.is_directory(broken_link))
      find_images(entry.path(), name + "/", above, names);
    else if (names_image(entry.path()) && !entry.is_other(broken_link))
      names.push_back(name);
  }
  above.pop_back();
}

/// What a folder holds: images by class, or directly.
struct Listing {
  std::map<std::string, std::vector<std::string>> classes;  ///< names start with the class
  std::vector<std::string> flat;

  bool labelled() const { return !classes.empty(); }
  bool empty() const { return classes.empty() && flat.empty(); }
};

bool wanted(const DatasetOptions& options, const std::string& name) {
  return options.classes.empty() || std::ranges::find(options.classes, name) != options.classes.end();
}

Listing list_part(const fs::path& folder, const DatasetOptions& options) {
  Listing listing;
  std::string without_images;
  for (const fs::directory_entry& entry : list(folder)) {
    const std::string name = entry.path().filename().string();
    std::error_code broken_link;
    if (entry.is_directory(broken_link)) {
      std::vector<std::string> names;
      std::vector<fs::path> above;
      find_images(entry.path(), name + "/", above, names);
      std::ranges::sort(names);
      if (!names.empty())
        listing.classes[name] = std::move(names);
      else if (wanted(options, name) && (without_images.empty() || entry.path().string() < without_images))
        without_images = entry.path().string();
    } else if (names_image(entry.path()) && !entry.is_other(broken_link)) {
      listing.flat.push_back(name);
    }
  }
  std::ranges::sort(listing.flat);
  check(without_images.empty() || !listing.labelled(), without_images, ": a class folder without images, expected ",
        kKinds, " files; add some, remove the folder, or name the classes to use with --classes");
  return listing;
}

/// The images of a set's folder, decoded, once that is asked for: its parts share it.
using SharedCache = std::shared_ptr<std::unique_ptr<const PixelCache>>;

class ImageFolder final : public Dataset {
 public:
  /// Files are root/folder/name, folder "" or ending with a slash; names are those of the listing with `prefix` before
  /// them.
  ImageFolder(fs::path root, std::string folder, const std::string& prefix, const Listing& listing, SharedCache cache)
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
    return decode_image(read_file(file), file);
  }
  bool decoded(std::int64_t index) const override { return *cache_ && (*cache_)->decoded(folder_ + names_[index]); }
  std::string content_hash(std::int64_t index) const override {
    if (*cache_)
      if (std::optional<std::string> hash = (*cache_)->content_hash(folder_ + names_[index])) return *std::move(hash);
    return retort::content_hash(read_file(path(index)));
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
std::vector<std::string> images_of(const Listing& listing, const std::string& prefix, const DatasetOptions& options) {
  std::vector<std::string> images;
  for (const auto& [name, files] : listing.classes)
    if (wanted(options, name))
      for (const std::string& file : files) images.push_back(prefix + file);
  if (!listing.labelled())
    for (const std::string& file : listing.flat) images.push_back(prefix + file);
  return images;
}

/// Throws Error if a part's images can't be used as they are.
void check_part(const fs::path& folder, const Listing& listing, const DatasetOptions& options) {
  const std::string path = folder.string();
  check(!listing.empty(), path, ": no images found; expected class folders (", path, "/<class>/) of ", kKinds,
        " files, or the files of MNIST or CIFAR");
  check(listing.labelled() || options.allow_unlabelled, path, ": ", listing.flat.size(),
        " images without class folders, but labels are needed; sort them into ", path, "/<class>/");
}

/// Throws Error naming a class that one part has and the other lacks.
void check_same_classes(const fs::path& here, const Listing& listing, const fs::path& there, const Listing& other,
                        const DatasetOptions& options) {
  if (!listing.labelled() || !other.labelled()) return;
  for (const auto& [name, files] : listing.classes)
    check(other.classes.contains(name) || !wanted(options, name), there.string(), ": class '", name,
          "' is missing, but ", here.string(), " has it; both parts need the same class folders");
}

/// The folder that holds the val part, or "".
fs::path find_val(const fs::path& root) {
  for (const char* name : {"val", "validation", "test"})
    if (fs::is_directory(root / name)) return root / name;
  return {};
}

bool holds_folders(const fs::path& folder) {
  return std::ranges::any_of(list(folder), [](const fs::directory_entry& entry) {
    std::error_code broken_link;
    return entry.is_directory(broken_link);
  });
}

}  // namespace

SplitOpeners recognise_image_folder(const DatasetOptions& options) {
  const fs::path root(options.path), train = root / "train", val = find_val(root);
  const bool has_train = fs::is_directory(train);
  // Without train/, a folder named val or test is a part only if class folders are in it; else it may well be a class.
  const bool has_val = !val.empty() && (has_train || holds_folders(val));
  const auto cache = std::make_shared<std::unique_ptr<const PixelCache>>();
  const auto open_cache = [=, file = options.cache](std::vector<std::string> images) {
    return [=, images = std::move(images)](const PixelCacheHooks& hooks) {
      *cache = std::make_unique<const PixelCache>(file, root.string(), images, hooks);
    };
  };
  if (!has_train && !has_val) {
    const Listing listing = list_part(root, options);
    check_part(root, listing, options);
    return {[=] { return std::make_unique<ImageFolder>(root, "", "", listing, cache); },
            {},
            open_cache(images_of(listing, "", options))};
  }
  check(has_train || std::ranges::count_if(list(root), [](const auto& entry) { return entry.is_directory(); }) == 1,
        val.string(), ": stands beside class folders, expected ", train.string(),
        " to hold those; move the class folders for training there");

  Listing train_listing, val_listing;
  if (has_train) {
    train_listing = list_part(train, options);
    check_part(train, train_listing, options);
  }
  if (has_val) {
    val_listing = list_part(val, options);
    check_part(val, val_listing, options);
  }
  check_same_classes(train, train_listing, val, val_listing, options);
  check_same_classes(val, val_listing, train, train_listing, options);

  const bool both = options.whole && has_train && has_val;  // their names must not collide
  const auto open = [=](const fs::path& folder, const Listing& listing) -> SplitOpeners::Open {
    const std::string part = folder.filename().string() + "/";
    if (both) return [=] { return std::make_unique<ImageFolder>(root, "", part, listing, cache); };
    return [=] { return std::make_unique<ImageFolder>(root, part, "", listing, cache); };
  };
  std::vector<std::string> images = images_of(train_listing, "train/", options);
  std::ranges::move(images_of(val_listing, val.filename().string() + "/", options), std::back_inserter(images));
  return {has_train ? open(train, train_listing) : SplitOpeners::Open{},
          has_val ? open(val, val_listing) : SplitOpeners::Open{}, open_cache(std::move(images))};
}

}  // namespace retort
