// The decoded images of a folder in one file: they are decoded once, for all epochs and all runs. The file is read, not
// mapped: the system keeps it in memory all the same, and one that is cut short under a run is an error, no signal.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/data/image.h"
#include "engine/io/file.h"
#include "engine/io/read_access.h"

namespace retort {

/// How the making of a cache is followed.
struct PixelCacheHooks {
  std::function<void(const std::string&)> remark;  ///< a line: that it is made, and why
  /// Images that are done, of how many; may throw to give up, which leaves no file behind.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

class PixelCache {
 public:
  /// Opens `file`, which holds the images root/names[i] as decode_image gives them. They are decoded into it first
  /// where there is no such file, and again where one is new, or one of those in it is changed or gone. An image is
  /// unchanged if its size and its times of change are what they were or, where they are not, its content hash is. What
  /// cannot be decoded is remembered without pixels.
  ///
  /// Throws Error naming `file` where it is something else, is damaged, holds other images of another folder, or cannot
  /// be written.
  PixelCache(const std::string& file, const std::string& root, const std::vector<std::string>& names,
             const PixelCacheHooks& hooks);

  /// Nothing for an image that could not be decoded. `name` is one of `names`, as below. Throws Error where the file
  /// was cut short since.
  std::optional<Image> load(const std::string& name) const;
  bool decoded(const std::string& name) const;
  /// content_hash of the image's file; nothing for one that could not be read.
  std::optional<std::string> content_hash(const std::string& name) const;

  /// What the cache's file says of an image.
  struct Record {
    std::uint64_t offset = 0;                           ///< of its pixels in the cache's file
    std::uint32_t width = 0, height = 0, channels = 0;  ///< 0: not decoded
    std::uint32_t name_bytes = 0;
    FileStamp stamp;
    std::array<char, 16> hash{};  ///< zeros: not read
  };

 private:
  friend std::size_t cached_images(const std::string& file);
  PixelCache() = default;

  struct Entry {
    std::string_view name;  ///< lies in index_
    Record record;
  };

  void open(const std::string& file);
  std::string staleness(const std::string& root, const std::vector<std::string>& names) const;
  const Record& record(const std::string& name) const { return entries_[index_of_.at(name)].record; }

  std::unique_ptr<const InputFile> file_;
  std::vector<std::uint8_t> index_;  ///< the file from its records on
  std::string_view root_;            ///< where the images were; lies in index_
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_of_;
};

/// Whether a file begins as a cache does.
bool is_pixel_cache(const std::string& file);
/// The number of images in a cache that holds together. Throws Error as PixelCache does.
std::size_t cached_images(const std::string& file);

}  // namespace retort
