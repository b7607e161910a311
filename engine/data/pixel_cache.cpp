// The file, in this order: a line that names its form; the pixels, image after image; the records; the folder's path
// and the names, end to end; the footer. What is needed to write a part is known by then, so it is written as a stream.
#include "engine/data/pixel_cache.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <type_traits>

#include "engine/core/check.h"
#include "engine/data/pnm.h"
#include "kernels/threads.h"

namespace retort {
namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::uint8_t>;
using Record = PixelCache::Record;

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");
static_assert(sizeof(Record) == 64, "no padding between them, on any machine");

constexpr std::string_view kForm = "retort pixels 2\n";

struct Footer {
  std::uint64_t records_at = 0, records = 0, root_bytes = 0;
  std::array<char, 16> hash{};  ///< content_hash of records, path and names
  std::array<char, 16> form{};  ///< again: the file was written to its end
};

/// A file that was changed so shortly before it was read may change once more within one tick of the file system's
/// clock, which nothing would show.
constexpr std::int64_t kSettled = 2'000'000'000;  // ns; the coarsest clocks of file systems tick every two seconds

constexpr std::int64_t kImagesAhead = 4;  // decoded and not yet written, for each thread

template <class T>
requires std::is_trivially_copyable_v<T> Bytes bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

template <class T>
requires std::is_trivially_copyable_v<T> std::span<std::uint8_t> writable_bytes(T& value) {
  return {reinterpret_cast<std::uint8_t*>(&value), sizeof value};
}

Bytes bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

std::array<char, 16> hash_of(Bytes bytes) {
  std::array<char, 16> digits;
  std::ranges::copy(content_hash(bytes), digits.begin());
  return digits;
}

std::uint64_t pixel_bytes(const Record& record) {
  return std::uint64_t{record.width} * record.height * record.channels;
}

std::string path_of(std::string_view root, std::string_view name) { return (fs::path(root) / name).string(); }

/// A name as the listing of a folder gives it. A file from elsewhere must not name what lies outside.
bool is_below_a_folder(std::string_view name) {
  const fs::path path(name);
  return path.is_relative() && name.find('\0') == name.npos &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == "." || part == ".." || part.empty(); });
}

/// Of a file that is not there: the largest size, which no file has.
FileStamp stamp_of(const std::string& path) {
  return stamp_of_file(path.c_str()).value_or(FileStamp{.bytes = ~std::uint64_t{0}});
}

bool unchanged(const Record& record, const std::string& path) {
  const FileStamp now = stamp_of(path);
  if (now.bytes != record.stamp.bytes) return false;
  if (now == record.stamp) return true;
  try {  // touched, copied, moved, or younger than the clock's tick when it was read
    return hash_of(read_picture(path)) == record.hash;
  } catch (const std::exception&) {
    return false;
  }
}

/// An image on its way into the file.
struct Decoded {
  Record record;
  Image image;
  std::exception_ptr fault;
};

Decoded decode(const std::string& path) {
  Decoded decoded;
  const std::int64_t now = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  Record& record = decoded.record;
  record.stamp = stamp_of(path);
  if (now - record.stamp.changed < kSettled) record.stamp.changed = 0;  // its hash will be compared, always
  try {
    const std::vector<std::uint8_t> bytes = read_picture(path);
    record.hash = hash_of(bytes);
    decoded.image = decode_image(bytes, path);
    record.width = static_cast<std::uint32_t>(decoded.image.width);
    record.height = static_cast<std::uint32_t>(decoded.image.height);
    record.channels = static_cast<std::uint32_t>(decoded.image.channels);
  } catch (const Error&) {  // whoever loads it is told why
  } catch (...) {
    decoded.fault = std::current_exception();
  }
  return decoded;
}

void write(const std::string& file, const std::string& root, const std::vector<std::string>& names,
           const PixelCacheHooks& hooks) {
  write_atomic(file, [&](const ByteSink& sink) {
    sink(bytes_of(kForm));
    std::uint64_t offset = kForm.size();
    std::vector<std::uint8_t> index;
    const auto append = [&](Bytes bytes) { index.insert(index.end(), bytes.begin(), bytes.end()); };
    const auto total = static_cast<std::int64_t>(names.size());
    for (std::int64_t done = 0; done < total;) {
      std::vector<Decoded> images(std::min(total - done, kImagesAhead * num_threads()));
      parallel_tasks(static_cast<std::int64_t>(images.size()),
                     [&](std::int64_t i, int) { images[i] = decode(path_of(root, names[done + i])); });
      for (Decoded& image : images) {
        if (image.fault) std::rethrow_exception(image.fault);
        image.record.offset = offset;
        image.record.name_bytes = static_cast<std::uint32_t>(names[done++].size());
        append(bytes_of(image.record));
        sink(image.image.pixels);
        offset += image.image.pixels.size();
      }
      hooks.progress(done, total);
    }
    const std::string folder = fs::canonical(root).string();
    append(bytes_of(folder));
    for (const std::string& name : names) append(bytes_of(name));
    Footer footer{offset, names.size(), folder.size(), hash_of(index), {}};
    std::ranges::copy(kForm, footer.form.begin());
    sink(index);
    sink(bytes_of(footer));
  });
}

}  // namespace

PixelCache::PixelCache(const std::string& file, const std::string& root, const std::vector<std::string>& names,
                       const PixelCacheHooks& hooks) {
  std::string reason = "is not there yet";
  if (fs::exists(file)) {
    open(file);
    reason = staleness(root, names);
    if (reason.empty()) return;
    const std::string folder = fs::canonical(root).string();
    check(root_ == folder, file, ": holds the images of ", root_, ", not those of ", folder, " (", reason,
          "); give each folder a cache of its own, or remove this file");
  }
  hooks.remark(text(file, ": ", reason, "; decoding ", names.size(), " images into it"));
  write(file, root, names, hooks);
  open(file);
}

/// Reads the file's index. Throws Error unless all of it holds.
void PixelCache::open(const std::string& file) {
  entries_.clear();
  index_of_.clear();
  file_ = std::make_unique<const InputFile>(file);
  std::array<char, 16> form{};
  const std::uint64_t size = file_->size(), least = kForm.size() + sizeof(Footer);
  if (size >= kForm.size()) file_->read(0, writable_bytes(form));
  check(std::ranges::equal(form, kForm), file,
        ": is no cache of decoded images, or one of another version; give --cache another file, or remove this one");
  Footer footer;
  bool sound = size >= least;
  if (sound) file_->read(size - sizeof footer, writable_bytes(footer));
  const std::uint64_t end = size - sizeof footer, records_at = footer.records_at;
  sound = sound && std::ranges::equal(footer.form, kForm) && records_at <= end &&
          footer.records <= (end - records_at) / sizeof(Record) && footer.root_bytes <= end;
  if (sound) {
    index_.resize(end - records_at);
    file_->read(records_at, index_);
    sound = hash_of(index_) == footer.hash;
  }

  std::uint64_t at = footer.records * sizeof(Record);  // in the index
  const auto take = [&](std::uint64_t count) {
    sound = sound && count <= index_.size() - at;
    if (!sound) return std::string_view();
    at += count;
    return std::string_view(reinterpret_cast<const char*>(index_.data()) + at - count, count);
  };
  root_ = take(footer.root_bytes);
  for (std::uint64_t i = 0; sound && i < footer.records; ++i) {
    Entry entry;
    std::memcpy(&entry.record, &index_[i * sizeof(Record)], sizeof(Record));
    entry.name = take(entry.record.name_bytes);
    const Record& record = entry.record;
    sound = sound && is_below_a_folder(entry.name) && (record.channels <= 1 || record.channels == 3) &&
            (record.channels == 0 || (record.width > 0 && record.height > 0)) &&
            std::uint64_t{record.width} * record.height <= static_cast<std::uint64_t>(kLargestImage) &&
            record.offset <= records_at && pixel_bytes(record) <= records_at - record.offset;
    index_of_.emplace(entry.name, entries_.size());
    entries_.push_back(entry);
  }
  check(sound && at == index_.size(), file, ": is damaged or cut short; remove it to have it made again");
}

/// Why the cache does not serve these images any more; "" if it does.
std::string PixelCache::staleness(const std::string& root, const std::vector<std::string>& names) const {
  std::vector<std::uint8_t> same(entries_.size());
  parallel_for(static_cast<std::int64_t>(same.size()), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) same[i] = unchanged(entries_[i].record, path_of(root, entries_[i].name));
  });
  const auto other = static_cast<std::size_t>(std::ranges::find(same, 0) - same.begin());
  if (other < same.size()) {
    const std::string name(entries_[other].name);
    return name + (fs::exists(path_of(root, name)) ? " has changed" : " is gone");
  }
  for (const std::string& name : names)
    if (!index_of_.contains(name)) return name + " is new";
  return "";
}

std::optional<Image> PixelCache::load(const std::string& name) const {
  const Record& from = record(name);
  if (from.channels == 0) return std::nullopt;
  Image image{from.width, from.height, from.channels, std::vector<std::uint8_t>(pixel_bytes(from))};
  file_->read(from.offset, image.pixels);
  return image;
}

bool PixelCache::decoded(const std::string& name) const { return record(name).channels > 0; }

std::optional<std::string> PixelCache::content_hash(const std::string& name) const {
  const Record& from = record(name);
  if (from.hash == std::array<char, 16>{}) return std::nullopt;
  return std::string(from.hash.begin(), from.hash.end());
}

bool is_pixel_cache(const std::string& file) {
  const InputFile input(file);
  std::array<char, 16> form{};
  if (input.size() < form.size()) return false;
  input.read(0, writable_bytes(form));
  return std::ranges::equal(form, kForm);
}

std::size_t cached_images(const std::string& file) {
  PixelCache cache;
  cache.open(file);
  return cache.entries_.size();
}

}  // namespace retort
