#include <doctest/doctest.h>

#include <map>
#include <set>

#include "engine/core/check.h"
#include "engine/data/dataset.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

using Names = std::vector<std::string>;

DatasetOptions at(const Scratch& scratch, const std::string& folder = "data") {
  DatasetOptions options;
  options.path = scratch / folder;
  options.val_split = 0;
  return options;
}

Names names_of(const DatasetOptions& options) {
  const auto dataset = open_dataset(options);
  Names names;
  for (std::int64_t i = 0; i < dataset->size(); ++i) names.push_back(dataset->name(i));
  return names;
}

std::set<std::string> set_of(const DatasetOptions& options) {
  const Names names = names_of(options);
  return {names.begin(), names.end()};
}

std::string refusal(const DatasetOptions& options) {
  return error_message([&] { open_dataset(options); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const std::string kPicture = pnm(pattern(3, 2, 3));

}  // namespace

TEST_CASE("a folder of classes: sorted, recursive, other files ignored") {
  Scratch scratch;
  for (const char* name : {"data/dog/b.JPG", "data/dog/a.jpeg", "data/dog/deep/er/z.Png", "data/cat/1.bmp",
                           "data/cat/2.gif", "data/cat/10.pgm"})
    put(scratch, name, kPicture);
  for (const char* name : {"data/LICENSE.txt", "data/cat/notes.txt", "data/cat/.hidden.jpg", "data/.git/x.jpg",
                           "data/loose.jpg", "data/cat/.thumbs/1.jpg"})
    put(scratch, name, "ignored");
  const auto dataset = open_dataset(at(scratch));
  CHECK(dataset->classes() == Names{"cat", "dog"});
  CHECK(names_of(at(scratch)) ==
        Names{"cat/1.bmp", "cat/10.pgm", "cat/2.gif", "dog/a.jpeg", "dog/b.JPG", "dog/deep/er/z.Png"});
  CHECK(dataset->label(2) == 0);
  CHECK(dataset->label(3) == 1);
  CHECK(dataset->load(5).pixels == pattern(3, 2, 3).pixels);  // a PPM for all its name
  CHECK(dataset->content_hash(0).size() == 16);
  CHECK(dataset->content_hash(0) == dataset->content_hash(5));
  CHECK(dataset->native_size() == 0);
  CHECK(dataset->native_channels() == 3);
}

TEST_CASE("a bad file: loading names it, skip_bad leaves it out") {
  Scratch scratch;
  put_class(scratch, "data/a", 3);
  put_class(scratch, "data/b", 3);
  put(scratch, "data/a/001.ppm", "P6 9 9 255\nshort");
  put(scratch, "data/b/empty.png", "");
  DatasetOptions options = at(scratch);
  const auto dataset = open_dataset(options);
  CHECK(dataset->size() == 7);
  CHECK(error_message([&] { dataset->load(1); }).starts_with(scratch / "data/a/001.ppm: can't be decoded"));

  std::vector<std::string> skipped;
  options.skip_bad = true;
  options.skipped = &skipped;
  CHECK(names_of(options) == Names{"a/000.ppm", "a/002.ppm", "b/000.ppm", "b/001.ppm", "b/002.ppm"});
  REQUIRE(skipped.size() == 2);
  CHECK(skipped[0].starts_with(scratch / "data/a/001.ppm"));
  CHECK(skipped[1].starts_with(scratch / "data/b/empty.png"));
}

TEST_CASE("skip_bad with nothing left is an error") {
  Scratch scratch;
  put(scratch, "data/a/1.png", "x");
  put(scratch, "data/b/1.png", "x");
  std::vector<std::string> skipped;
  DatasetOptions options = at(scratch);
  options.skip_bad = true;
  options.skipped = &skipped;
  CHECK(contains(refusal(options), "none of its images can be decoded"));
}

TEST_CASE("train and val folders are found by themselves, in any case") {
  for (const std::string val : {"val", "valid", "validation", "Val", "VALID"}) {
    Scratch scratch;
    const std::string train = val == "Val" ? "Training" : "train";
    put_class(scratch, "data/" + train + "/a", 3);
    put_class(scratch, "data/" + train + "/b", 2);
    put_class(scratch, "data/" + val + "/a", 1);
    put_class(scratch, "data/" + val + "/b", 1);
    DatasetOptions options = at(scratch);
    options.val_split = 0.5;  // not applied: the set has a part of its own
    CHECK(names_of(options) == Names{"a/000.ppm", "a/001.ppm", "a/002.ppm", "b/000.ppm", "b/001.ppm"});
    options.split = Split::val;
    CHECK(names_of(options) == Names{"a/000.ppm", "b/000.ppm"});
    options.whole = true;
    const Names all = names_of(options);
    CHECK(all.size() == 7);
    CHECK(all[0] == train + "/a/000.ppm");
    CHECK(all[5] == val + "/a/000.ppm");
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == 7);
  }
}

TEST_CASE("a test part chooses nothing: a share of train validates") {
  Scratch scratch;
  put_class(scratch, "data/train/a", 10);
  put_class(scratch, "data/train/b", 10);
  put_class(scratch, "data/Test/a", 3);
  put_class(scratch, "data/Test/b", 2);
  DatasetOptions options = at(scratch);
  options.val_split = 0.2;
  const auto train = open_dataset(options);
  CHECK(train->size() == 16);
  REQUIRE(train->reading());
  CHECK(train->reading()->val_split == 0.2);
  CHECK(train->reading()->test->folder == "Test/");
  CHECK(train->reading()->test->samples == 5);
  CHECK(train->reading()->train->samples == 16);
  CHECK(train->reading()->val->samples == 4);
  CHECK_FALSE(train->reading()->undivided());
  options.split = Split::val;
  CHECK(open_dataset(options)->size() == 4);
  options.split = Split::test;
  CHECK(names_of(options) == Names{"a/000.ppm", "a/001.ppm", "a/002.ppm", "b/000.ppm", "b/001.ppm"});
  options.whole = true;
  CHECK(names_of(options).size() == 25);

  put_class(scratch, "data/val/a", 1);
  put_class(scratch, "data/val/b", 1);
  options = at(scratch);
  options.split = Split::val;
  CHECK(names_of(options) == Names{"a/000.ppm", "b/000.ppm"});
  put_class(scratch, "data/valid/a", 1);
  CHECK(contains(refusal(options), "is the same part as"));
}

TEST_CASE("a flat test folder beside train/ is there to predict on") {
  Scratch scratch;
  put_class(scratch, "data/train/a", 2);
  put_class(scratch, "data/train/b", 2);
  put(scratch, "data/test/1.ppm", kPicture);
  CHECK(open_dataset(at(scratch))->size() == 4);
  DatasetOptions options = at(scratch);
  options.split = Split::test;
  CHECK(contains(refusal(options), "1 images without class folders"));
  options.allow_unlabelled = true;
  CHECK(names_of(options) == Names{"1.ppm"});
  DatasetOptions none = at(scratch, "data/train");
  none.split = Split::test;
  CHECK(contains(refusal(none), "has no test part"));
}

TEST_CASE("what is passed over is counted, by reason") {
  Scratch scratch;
  put_class(scratch, "data/cat", 2);
  put_class(scratch, "data/dog", 2);
  put(scratch, "data/loose.ppm", kPicture);
  put(scratch, "data/LICENSE.txt", "text");
  put(scratch, "data/cat/a.heic", "x");
  put(scratch, "data/cat/b.HEIC", "x");
  put(scratch, "data/dog/c.tiff", "x");
  put(scratch, "data/dog/._000.ppm", "x");
  const DataReading reading = read_dataset(at(scratch));
  CHECK(reading.passed_over.sentence() ==
        "2 .heic and 1 .tiff, which this build does not read: convert them to JPEG or PNG; "
        "1 picture beside the class folders, of no class (loose.ppm); 1 hidden picture (._000.ppm); "
        "1 file that is no picture (.txt)");
  CHECK(describe(reading) == scratch / "data: 2 classes (cat, dog); 4 pictures");

  put_class(scratch, "parts/train/cat", 2);
  put_class(scratch, "parts/train/dog", 2);
  put_class(scratch, "parts/extra", 3);
  CHECK(read_dataset(at(scratch, "parts")).passed_over.sentence() ==
        "3 pictures beside the parts, in none of them (extra/000.ppm, extra/001.ppm, extra/002.ppm)");
  put(scratch, "none/cat/1.heic", "x");
  CHECK(contains(refusal(at(scratch, "none")), "passed over: 1 .heic, which this build does not read"));
}

TEST_CASE("folders within a class's folder are said, and a set one level down is found") {
  Scratch scratch;
  put_class(scratch, "data/cat/persian", 2);
  put_class(scratch, "data/cat/siamese", 2);
  put_class(scratch, "data/dog", 2);
  CHECK(contains(
      describe(read_dataset(at(scratch))),
      "a class is a folder of the first level: cat/ holds folders itself (persian, siamese), all of class cat"));
  put_class(scratch, "deep/photos/cat", 2);
  put_class(scratch, "deep/photos/dog", 2);
  CHECK(contains(refusal(at(scratch, "deep")), "if those are the classes, give --data " + (scratch / "deep/photos")));
}

TEST_CASE("train alone is split; val alone serves only --split val") {
  Scratch scratch;
  put_class(scratch, "data/train/a", 10);
  put_class(scratch, "data/train/b", 10);
  DatasetOptions options = at(scratch);
  options.val_split = 0.2;
  CHECK(open_dataset(options)->size() == 16);
  options.split = Split::val;
  CHECK(open_dataset(options)->size() == 4);

  put_class(scratch, "only/val/a", 2);
  put_class(scratch, "only/val/b", 2);
  DatasetOptions only = at(scratch, "only");
  CHECK(contains(refusal(only), "none for training"));
  only.split = Split::val;
  CHECK(open_dataset(only)->size() == 4);
}

TEST_CASE("a class may be named test, but test/<class> beside classes is refused") {
  Scratch scratch;
  put_class(scratch, "data/test", 2);
  put_class(scratch, "data/exam", 2);
  CHECK(open_dataset(at(scratch))->classes() == Names{"exam", "test"});
  put_class(scratch, "mixed/test/cat", 2);
  put_class(scratch, "mixed/cat", 2);
  CHECK(contains(refusal(at(scratch, "mixed")), "stands beside class folders"));
}

TEST_CASE("parts with other classes are refused by the missing one's name") {
  Scratch scratch;
  for (const char* folder : {"data/train/a", "data/train/b", "data/train/c", "data/val/a", "data/val/b"})
    put_class(scratch, folder, 2);
  CHECK(contains(refusal(at(scratch)), "val: class 'c' is missing"));
  DatasetOptions chosen = at(scratch);
  chosen.classes = {"a", "b"};
  CHECK(open_dataset(chosen)->size() == 4);
  put_class(scratch, "data/val/c", 1);
  put_class(scratch, "data/val/d", 1);
  CHECK(contains(refusal(at(scratch)), "train: class 'd' is missing"));
}

TEST_CASE("the val split is disjoint, complete, stratified and depends on names alone") {
  Scratch scratch;
  put_class(scratch, "data/a", 40);
  put_class(scratch, "data/b", 15);
  put_class(scratch, "data/c", 2);
  put_class(scratch, "data/d", 1);
  DatasetOptions options = at(scratch);
  options.val_split = 0.1;
  const std::set<std::string> train = set_of(options);
  options.split = Split::val;
  const std::set<std::string> val = set_of(options);
  CHECK(train.size() + val.size() == 58);
  std::map<char, int> counts;
  for (const std::string& name : val) {
    CHECK_FALSE(train.contains(name));
    ++counts[name[0]];
  }
  CHECK(counts ==
        std::map<char, int>{{'a', 4}, {'b', 2}, {'c', 1}});  // 1.5 rounds to 2; one of two; a single one trains

  put_class(scratch, "data/e", 20);  // another class moves nothing
  for (const std::string& name : val) CHECK(set_of(options).contains(name));
  options.whole = true;
  CHECK(set_of(options).size() == 78);
}

TEST_CASE("classes: a subset, in the order given") {
  Scratch scratch;
  for (const char* folder : {"data/a", "data/b", "data/c"}) put_class(scratch, folder, 2);
  DatasetOptions options = at(scratch);
  options.classes = {"c", "a"};
  const auto dataset = open_dataset(options);
  CHECK(dataset->classes() == Names{"c", "a"});
  CHECK(names_of(options) == Names{"a/000.ppm", "a/001.ppm", "c/000.ppm", "c/001.ppm"});
  CHECK(dataset->label(0) == 1);
  CHECK(dataset->label(3) == 0);
  options.classes = {"a", "x"};
  CHECK(contains(refusal(options), "no class 'x'; it has a, b, c"));
  options.classes = {"a", "a"};
  CHECK_THROWS_AS(open_dataset(options), UsageError);
  options.classes = {"a"};
  CHECK(contains(refusal(options), "one class only ('a')"));
}

TEST_CASE("limit spreads over the classes and is stable") {
  Scratch scratch;
  put_class(scratch, "data/a", 10);
  put_class(scratch, "data/b", 10);
  put_class(scratch, "data/c", 1);
  DatasetOptions options = at(scratch);
  options.limit = 9;
  const auto dataset = open_dataset(options);
  std::vector<int> counts(3);
  for (std::int64_t i = 0; i < dataset->size(); ++i) ++counts[dataset->label(i)];
  CHECK(counts == std::vector<int>{4, 4, 1});
  CHECK(names_of(options) == names_of(options));
  options.limit = 3;
  const std::set<std::string> few = set_of(options);
  options.limit = 9;
  for (const std::string& name : few) CHECK(set_of(options).contains(name));  // a larger limit adds
  options.limit = 100;
  CHECK(open_dataset(options)->size() == 21);
  options.limit = -1;
  CHECK_THROWS_AS(open_dataset(options), UsageError);
}

TEST_CASE("a flat folder is unlabelled, where that is allowed") {
  Scratch scratch;
  put(scratch, "data/b.ppm", kPicture);
  put(scratch, "data/a.ppm", kPicture);
  DatasetOptions options = at(scratch);
  CHECK(contains(refusal(options), "2 images without class folders"));
  options.allow_unlabelled = true;
  const auto dataset = open_dataset(options);
  CHECK_FALSE(dataset->labelled());
  CHECK(names_of(options) == Names{"a.ppm", "b.ppm"});
  CHECK(dataset->label(0) == -1);
  options.classes = {"a", "b"};
  CHECK(contains(refusal(options), "--classes"));
  put_class(scratch, "tree/a", 1);
  put_class(scratch, "tree/b", 1);
  options = at(scratch, "tree");
  options.allow_unlabelled = true;
  CHECK(open_dataset(options)->labelled());
}

TEST_CASE("folders that hold no set are refused with a reason") {
  Scratch scratch;
  CHECK(contains(refusal(at(scratch, "nowhere")), "nowhere: no such folder"));
  put(scratch, "file.jpg", kPicture);
  CHECK(contains(refusal(at(scratch, "file.jpg")), "is a file, expected a folder"));
  std::filesystem::create_directories(scratch / "empty");
  CHECK(contains(refusal(at(scratch, "empty")), "no images found"));
  put_class(scratch, "single/cat", 3);
  CHECK(contains(refusal(at(scratch, "single")), "one class only ('cat')"));
  put_class(scratch, "hole/cat", 3);
  put_class(scratch, "hole/dog", 3);
  put(scratch, "hole/bird/readme.txt", "no picture");
  CHECK(contains(refusal(at(scratch, "hole")), "hole/bird: a class folder without images"));
  DatasetOptions chosen = at(scratch, "hole");
  chosen.classes = {"cat", "dog"};
  CHECK(open_dataset(chosen)->size() == 6);
  DatasetOptions share = at(scratch, "hole");
  share.val_split = 1;
  CHECK_THROWS_AS(open_dataset(share), UsageError);
  DatasetOptions none = chosen;
  none.split = Split::val;
  CHECK(contains(refusal(none), "no samples for validation"));
}

TEST_CASE("links are followed, but not around in circles; a broken one is a bad file") {
  Scratch scratch;
  put_class(scratch, "elsewhere", 2);
  put_class(scratch, "data/b", 2);
  std::filesystem::create_directory_symlink(scratch / "elsewhere", scratch / "data/a");
  std::filesystem::create_symlink(scratch / "gone.ppm", scratch / "data/b/broken.ppm");
  const auto dataset = open_dataset(at(scratch));
  CHECK(dataset->size() == 5);
  CHECK(dataset->name(0) == "a/000.ppm");
  CHECK(error_message([&] { dataset->load(4); }).starts_with(scratch / "data/b/broken.ppm"));
  std::filesystem::create_directory_symlink(scratch / "data/b", scratch / "data/b/again");
  CHECK(contains(refusal(at(scratch)), "links to a folder that contains it"));
}
