#include "engine/data/pixel_cache.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/core/check.h"
#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A folder of classes, and what opening it with a cache said.
struct Folder {
  Scratch scratch;
  std::vector<std::string> remarks;

  Folder() {
    put_class(scratch, "data/a", 12);
    put_class(scratch, "data/b", 11);
    put(scratch, "data/b/grey.pgm", pnm(pattern(9, 7, 1)));
  }
  std::string cache() const { return scratch / "pixels.cache"; }
  DatasetOptions options(const std::string& folder = "data") {
    DatasetOptions options;
    options.path = scratch / folder;
    options.val_split = 0;
    return options;
  }
  DatasetOptions cached(const std::string& folder = "data") {
    DatasetOptions cached = options(folder);
    cached.cache = cache();
    cached.cache_hooks.remark = [this](const std::string& line) { remarks.push_back(line); };
    return cached;
  }
  /// What is said when the folder is opened; "" if nothing.
  std::string said(const std::string& folder = "data") {
    remarks.clear();
    open_dataset(cached(folder));
    CHECK(remarks.size() <= 1);
    return remarks.empty() ? "" : remarks[0];
  }
  std::string refusal(const std::string& folder = "data") {
    return error_message([&] { open_dataset(cached(folder)); });
  }
};

void check_same(const Dataset& found, const Dataset& expected) {
  REQUIRE(found.size() == expected.size());
  CHECK(found.classes() == expected.classes());
  for (std::int64_t i = 0; i < found.size(); ++i) {
    CHECK(found.name(i) == expected.name(i));
    CHECK(found.label(i) == expected.label(i));
    CHECK(found.content_hash(i) == expected.content_hash(i));
    CHECK(found.decoded(i));
    CHECK_FALSE(expected.decoded(i));
    const Image image = found.load(i), decoded = expected.load(i);
    CHECK(image.width == decoded.width);
    CHECK(image.height == decoded.height);
    CHECK(image.channels == decoded.channels);
    CHECK((image.pixels == decoded.pixels));
  }
}

/// Rewrites a file so that its size and its time of modification do not tell.
void change_secretly(const std::string& path, std::size_t at) {
  const auto time = fs::last_write_time(path);
  std::string content = read_text(path);
  content[at] ^= 1;
  std::ofstream(path, std::ios::binary) << content;
  fs::last_write_time(path, time);
}

}  // namespace

TEST_CASE("a cached folder is the folder, and is decoded once") {
  Folder folder;
  CHECK(folder.said() == folder.cache() + ": is not there yet; decoding 24 images into it");
  CHECK(folder.said().empty());
  check_same(*open_dataset(folder.cached()), *open_dataset(folder.options()));

  // What is loaded comes from the cache: a sample changed in there shows.
  std::string content = read_text(folder.cache());
  const auto cat = open_dataset(folder.options())->load(3);
  const std::size_t at = content.find(std::string(cat.pixels.begin(), cat.pixels.end()));
  REQUIRE(at != std::string::npos);
  content[at] ^= 1;
  std::ofstream(folder.cache(), std::ios::binary) << content;
  CHECK(open_dataset(folder.cached())->load(3).pixels[0] == (cat.pixels[0] ^ 1));
}

TEST_CASE("one cache serves every part, class and limit of a folder") {
  Folder folder;
  for (const char* name : {"parts/train/a", "parts/train/b", "parts/val/a", "parts/val/b"})
    put_class(folder.scratch, name, 4);
  const auto check_all = [&](const std::string& name) {
    for (const Split split : {Split::train, Split::val})
      for (const bool whole : {false, true})
        for (const std::int64_t limit : {0, 3}) {
          DatasetOptions cached = folder.cached(name), plain = folder.options(name);
          cached.split = plain.split = split;
          cached.whole = plain.whole = whole;
          cached.limit = plain.limit = limit;
          cached.val_split = plain.val_split = 0.2;
          check_same(*open_dataset(cached), *open_dataset(plain));
        }
  };
  check_all("parts");
  CHECK(folder.remarks.size() == 1);
  fs::remove(folder.cache());
  folder.remarks.clear();
  check_all("data");
  CHECK(folder.remarks.size() == 1);

  // Chosen classes alone are decoded; what has more serves them too.
  put_class(folder.scratch, "data/c", 2);
  DatasetOptions chosen = folder.cached();
  chosen.classes = {"c", "a"};
  fs::remove(folder.cache());
  folder.remarks.clear();
  CHECK(open_dataset(chosen)->size() == 14);
  REQUIRE(folder.remarks.size() == 1);
  CHECK(contains(folder.remarks[0], "decoding 14 images"));
  CHECK(contains(folder.said(), "b/000.ppm is new; decoding 26 images"));
  folder.remarks.clear();
  CHECK(open_dataset(chosen)->size() == 14);
  CHECK(folder.remarks.empty());

  put(folder.scratch, "flat/1.ppm", pnm(pattern(3, 2, 3)));
  DatasetOptions flat = folder.cached("flat"), plain = folder.options("flat");
  flat.cache = folder.scratch / "flat.cache";
  flat.allow_unlabelled = plain.allow_unlabelled = true;
  check_same(*open_dataset(flat), *open_dataset(plain));
}

TEST_CASE("a cache is made anew when an image is changed, new, gone or renamed") {
  Folder folder;
  folder.said();
  const std::string first = folder.scratch / "data/a/000.ppm", second = folder.scratch / "data/a/001.ppm";
  SUBCASE("another content of the same size and time") {
    change_secretly(first, 40);
    CHECK(contains(folder.said(), "a/000.ppm has changed; decoding 24 images"));
  }
  SUBCASE("another size") {
    put(folder.scratch, "data/a/000.ppm", pnm(pattern(3, 2, 3)));
    CHECK(contains(folder.said(), "a/000.ppm has changed"));
  }
  SUBCASE("new") {
    put_class(folder.scratch, "data/a", 13);
    CHECK(contains(folder.said(), "a/012.ppm is new; decoding 25 images"));
  }
  SUBCASE("gone") {
    fs::remove(first);
    CHECK(contains(folder.said(), "a/000.ppm is gone; decoding 23 images"));
  }
  SUBCASE("renamed") {
    fs::rename(first, folder.scratch / "data/a/zero.ppm");
    CHECK(contains(folder.said(), "a/000.ppm is gone"));
  }
  SUBCASE("two that swapped their names, of one size and time") {
    fs::last_write_time(second, fs::last_write_time(first));
    fs::rename(first, folder.scratch / "other");
    fs::rename(second, first);
    fs::rename(folder.scratch / "other", second);
    CHECK(contains(folder.said(), "has changed"));
  }
  check_same(*open_dataset(folder.cached()), *open_dataset(folder.options()));
  CHECK(folder.said().empty());
}

TEST_CASE("a touched image, and a folder that was copied or moved, need no new cache") {
  Folder folder;
  folder.said();
  fs::last_write_time(folder.scratch / "data/a/000.ppm", fs::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK(folder.said().empty());
  fs::copy(folder.scratch / "data", folder.scratch / "copy", fs::copy_options::recursive);
  CHECK(folder.said("copy").empty());
  fs::rename(folder.scratch / "data", folder.scratch / "moved");
  CHECK(folder.said("moved").empty());
}

TEST_CASE("a cache of another folder is refused and kept") {
  Folder folder;
  folder.said();
  const std::string before = read_text(folder.cache());
  put_class(folder.scratch, "others/a", 2);
  put_class(folder.scratch, "others/b", 2);
  const std::string message = folder.refusal("others");
  CHECK(contains(message, folder.cache() + ": holds the images of "));
  CHECK(contains(message, "give each folder a cache of its own"));
  CHECK((read_text(folder.cache()) == before));
}

TEST_CASE("a file that is no cache, or a damaged one, is refused and kept") {
  Folder folder;
  const auto check_kept = [&](const std::string& content, const std::string& reason) {
    std::ofstream(folder.cache(), std::ios::binary) << content;
    CHECK(contains(folder.refusal(), folder.cache() + ": " + reason));
    CHECK((read_text(folder.cache()) == content));
  };
  folder.said();
  const std::string whole = read_text(folder.cache());
  check_kept("", "is no cache of decoded images");
  check_kept("precious", "is no cache of decoded images");
  check_kept("retort pixels 0\n" + whole.substr(16), "is no cache of decoded images, or one of another version");
  for (std::size_t size = 16; size < whole.size(); size += size < 200 || size + 3000 > whole.size() ? 1 : 97)
    check_kept(whole.substr(0, size), "is damaged or cut short");
  check_kept(whole + "x", "is damaged or cut short");
  // The index begins behind the pixels: 23 images of 12 x 10 and one of 9 x 7.
  const std::size_t index = 16 + 23 * 12 * 10 * 3 + 9 * 7;
  for (std::size_t at = index; at < whole.size(); at += 5) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    check_kept(damaged, "is damaged or cut short");
  }
}

/// A cache whose index was changed by somebody who wrote the hash that goes with it.
template <class Change>
std::string with_index(const std::string& cache, const Change& change) {
  constexpr std::size_t kFooter = 56, kHash = 32;  // from the end
  std::uint64_t records_at = 0;
  std::memcpy(&records_at, &cache[cache.size() - kFooter], sizeof records_at);
  std::string index = cache.substr(records_at, cache.size() - kFooter - records_at), content = cache;
  change(index);
  content.replace(records_at, index.size(), index);
  const std::string hash = content_hash({reinterpret_cast<const std::uint8_t*>(index.data()), index.size()});
  return content.replace(content.size() - kHash, hash.size(), hash);
}

TEST_CASE("a cache that names files outside its folder is refused, not followed") {
  Folder folder;
  folder.said();
  const std::string sound = read_text(folder.cache());
  for (const std::string name : {"../a.ppm", "/etc/pass", "a/./0.pp"}) {
    std::ofstream(folder.cache(), std::ios::binary)
        << with_index(sound, [&](std::string& index) { index.replace(index.find("a/000"), name.size(), name); });
    CAPTURE(name);
    CHECK(contains(folder.refusal(), "is damaged or cut short; remove it to have it made again"));
  }
}

TEST_CASE("a cache of pictures that have no pixels, or more than there are, is refused") {
  Folder folder;
  folder.said();
  const std::string sound = read_text(folder.cache());
  constexpr std::size_t kWidth = 8, kHeight = 12, kChannels = 16;  // of the first record
  for (const std::size_t at : {kWidth, kHeight, kChannels})
    for (const std::uint32_t value : {0u, 2u, 1000u, ~0u}) {
      if (value == 0 && at == kChannels) continue;  // one that could not be decoded
      if (value == 2 && at != kChannels) continue;  // another picture, of as many pixels or fewer
      std::ofstream(folder.cache(), std::ios::binary)
          << with_index(sound, [&](std::string& index) { std::memcpy(&index[at], &value, sizeof value); });
      CAPTURE(at);
      CAPTURE(value);
      CHECK(contains(folder.refusal(), "is damaged or cut short; remove it to have it made again"));
    }
}

TEST_CASE("a cache that is cut short while it is used is an error") {
  Folder folder;
  const auto dataset = open_dataset(folder.cached());
  CHECK_NOTHROW(dataset->load(dataset->size() - 1));
  fs::resize_file(folder.cache(), 100);
  CHECK(
      contains(error_message([&] { dataset->load(dataset->size() - 1); }), "ends at byte 100 where more was expected"));
}

TEST_CASE("a cache that cannot be written leaves nothing behind") {
  Folder folder;
  put(folder.scratch, "file", "");
  DatasetOptions below_a_file = folder.cached();
  below_a_file.cache = folder.scratch / "file/pixels.cache";
  CHECK(contains(error_message([&] { open_dataset(below_a_file); }), "file/pixels.cache: cannot write"));
  DatasetOptions on_a_folder = folder.cached();
  on_a_folder.cache = folder.scratch / "data";
  CHECK(contains(error_message([&] { open_dataset(on_a_folder); }), "data: cannot read: it is a folder"));

  DatasetOptions given_up = folder.cached();
  given_up.cache_hooks.progress = [](std::int64_t done, std::int64_t total) {
    CHECK(total == 24);
    if (done > 8) throw Error("given up");
  };
  CHECK(error_message([&] { open_dataset(given_up); }) == "given up");
  CHECK(folder.scratch.list() == std::vector<std::string>{"data", "file"});
}

TEST_CASE("what cannot be decoded is told as without a cache, and looked at again when it changes") {
  Folder folder;
  put(folder.scratch, "data/a/001.ppm", "P6 9 9 255\nshort");
  fs::create_symlink(folder.scratch / "gone.ppm", folder.scratch / "data/b/broken.ppm");
  const auto faults = [&](DatasetOptions options) {
    const auto dataset = open_dataset(options);
    std::vector<std::string> messages;
    for (const std::int64_t i : {std::int64_t{1}, dataset->size() - 2})
      messages.push_back(error_message([&] { dataset->load(i); }));
    std::vector<std::string> skipped;
    options.skip_bad = true;
    options.skipped = &skipped;
    CHECK(open_dataset(options)->size() == 23);
    messages.insert(messages.end(), skipped.begin(), skipped.end());
    return messages;
  };
  const std::vector<std::string> expected = faults(folder.options());
  REQUIRE(expected.size() == 4);
  CHECK(contains(expected[0], "a/001.ppm: can't be decoded"));
  CHECK(contains(expected[3], "b/broken.ppm: cannot read"));
  CHECK(faults(folder.cached()) == expected);
  CHECK(folder.remarks.size() == 1);

  put(folder.scratch, "data/a/001.ppm", pnm(pattern(12, 10, 3)));
  put(folder.scratch, "gone.ppm", pnm(pattern(12, 10, 3)));
  CHECK(contains(folder.said(), "a/001.ppm has changed; decoding 25 images"));
  check_same(*open_dataset(folder.cached()), *open_dataset(folder.options()));
}

TEST_CASE("a loader gives the same bits from a cache") {
  Folder folder;
  LoaderOptions options;
  options.batch_size = 5;
  options.preprocessings = {{6, 3, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}};
  options.augmentation = {true, true, true};
  options.shuffle = true;
  const auto epoch = [&](const DatasetOptions& data) {
    const auto dataset = open_dataset(data);
    Loader loader(*dataset, options);
    loader.start(3, 3);
    std::vector<float> values;
    for (Batch batch; loader.next(batch);)
      for (const float value : batch.inputs[0].span<float>()) values.push_back(value);
    return values;
  };
  const std::vector<float> expected = epoch(folder.options());
  for (const char* when : {"made", "found"}) {
    CAPTURE(when);
    const std::vector<float> found = epoch(folder.cached());
    REQUIRE(found.size() == expected.size());
    CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
  }
}
