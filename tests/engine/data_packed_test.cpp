#include <doctest/doctest.h>
#include <zlib.h>

#include <set>

#include "engine/core/check.h"
#include "engine/data/dataset.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

std::string big(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

/// `count` images of 4 x 4; every pixel of image i is i.
std::string idx_images(int count, int rows = 4, int columns = 4) {
  std::string file = big(0x803) + big(count) + big(rows) + big(columns);
  for (int i = 0; i < count; ++i) file += std::string(static_cast<std::size_t>(rows * columns), static_cast<char>(i));
  return file;
}

/// Labels 0, 1, .. 9, 0, ..
std::string idx_labels(int count) {
  std::string file = big(0x801) + big(count);
  for (int i = 0; i < count; ++i) file += static_cast<char>(i % 10);
  return file;
}

std::string gzip(const std::string& plain) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, plain.size()), '\0'), input = plain;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// CIFAR records; red is the record's number, green 100, blue 200.
std::string records(int count, int label_bytes, int classes) {
  std::string file;
  for (int i = 0; i < count; ++i) {
    if (label_bytes == 2) file += static_cast<char>(77);
    file += static_cast<char>(i % classes);
    file += std::string(1024, static_cast<char>(i)) + std::string(1024, char{100}) +
            std::string(1024, static_cast<char>(200));
  }
  return file;
}

DatasetOptions at(const Scratch& scratch, Split split = Split::train) {
  DatasetOptions options;
  options.path = scratch / "data";
  options.split = split;
  options.val_split = 0;
  return options;
}

std::string refusal(const DatasetOptions& options) {
  return error_message([&] { open_dataset(options); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void put_mnist(const Scratch& scratch) {
  put(scratch, "data/train-images-idx3-ubyte", idx_images(20));
  put(scratch, "data/train-labels-idx1-ubyte", idx_labels(20));
  put(scratch, "data/t10k-images-idx3-ubyte", idx_images(10));
  put(scratch, "data/t10k-labels-idx1-ubyte", idx_labels(10));
}

}  // namespace

TEST_CASE("MNIST's files: names, labels, pixels, and a test part that chooses nothing") {
  Scratch scratch;
  put_mnist(scratch);
  const auto train = open_dataset(at(scratch)), val = open_dataset(at(scratch, Split::test));
  CHECK(train->size() == 20);
  CHECK(val->size() == 10);
  CHECK(train->name(7) == "train/00007");
  CHECK(val->name(7) == "test/00007");
  CHECK(train->label(13) == 3);
  CHECK(train->classes() == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  CHECK(train->native_size() == 4);
  CHECK(train->native_channels() == 1);
  const Image image = train->load(13);
  CHECK(image.channels == 1);
  CHECK(image.pixels == std::vector<std::uint8_t>(16, 13));
  CHECK(train->content_hash(3) == val->content_hash(3));
  CHECK(train->content_hash(3) != val->content_hash(4));
  DatasetOptions whole = at(scratch);
  whole.whole = true;
  CHECK(open_dataset(whole)->size() == 30);
  CHECK(open_dataset(whole)->name(20) == "test/00000");
  DatasetOptions share = at(scratch);
  share.val_split = 0.5;
  CHECK(open_dataset(share)->size() == 10);
  share.split = Split::val;
  CHECK(open_dataset(share)->name(0).starts_with("train/"));
  CHECK(open_dataset(share)->reading()->form == "MNIST's files");
  DatasetOptions subset = at(scratch);
  subset.classes = {"8", "7"};
  CHECK(open_dataset(subset)->size() == 4);
  CHECK(open_dataset(subset)->name(0) == "train/00007");
  CHECK(open_dataset(subset)->label(0) == 1);
}

TEST_CASE("MNIST's files: gzip, the dotted spelling, and a split where there is no test part") {
  Scratch scratch;
  put(scratch, "data/train-images.idx3-ubyte.gz", gzip(idx_images(20)));
  put(scratch, "data/train-labels.idx1-ubyte", idx_labels(20));
  DatasetOptions options = at(scratch);
  options.val_split = 0.5;
  CHECK(open_dataset(options)->size() == 10);
  options.split = Split::val;
  const auto val = open_dataset(options);
  CHECK(val->size() == 10);
  CHECK(val->name(0).starts_with("train/"));
  std::set<std::int64_t> labels;
  for (std::int64_t i = 0; i < 10; ++i) labels.insert(val->label(i));
  CHECK(labels.size() == 10);
}

TEST_CASE("MNIST's files: damage is named") {
  Scratch scratch;
  put_mnist(scratch);
  const std::string images = "data/train-images-idx3-ubyte", labels = "data/train-labels-idx1-ubyte";
  SUBCASE("another magic number") {
    put(scratch, images, idx_labels(20) + "........");
    CHECK(contains(refusal(at(scratch)), "train-images-idx3-ubyte: its magic number is 2049, expected 2051"));
  }
  SUBCASE("cut short") {
    put(scratch, images, idx_images(20).substr(0, 300));
    CHECK(contains(refusal(at(scratch)), "holds 284 bytes of data where its header promises 320"));
  }
  SUBCASE("within the header") {
    put(scratch, images, idx_images(20).substr(0, 10));
    CHECK(contains(refusal(at(scratch)), "too few for an IDX header"));
  }
  SUBCASE("bytes too many") {
    put(scratch, images, idx_images(20) + "x");
    CHECK(contains(refusal(at(scratch)), "where its header promises 320"));
  }
  SUBCASE("sizes that overflow") {
    put(scratch, images, big(0x803) + big(0xFFFFFFFF) + big(0xFFFFFFFF) + big(0xFFFFFFFF));
    CHECK(contains(refusal(at(scratch)), "pixels along one side"));
  }
  SUBCASE("another number of labels") {
    put(scratch, labels, idx_labels(19));
    CHECK(contains(refusal(at(scratch)), "holds 19 labels for the 20 images"));
  }
  SUBCASE("a label out of range") {
    std::string file = idx_labels(20);
    file[8 + 4] = 10;
    put(scratch, labels, file);
    CHECK(contains(refusal(at(scratch)), "label 4 is 10, expected 0 to 9"));
  }
  SUBCASE("no samples at all") {
    put(scratch, images, idx_images(0));
    put(scratch, labels, idx_labels(0));
    CHECK(contains(refusal(at(scratch)), "hold no samples"));
  }
  SUBCASE("a .gz cut short") {
    const std::string packed = gzip(idx_images(20));
    std::filesystem::remove(scratch / images);
    put(scratch, images + ".gz", packed.substr(0, packed.size() - 9));
    CHECK(refusal(at(scratch)).starts_with(scratch / images + ".gz"));
  }
  CHECK(open_dataset(at(scratch, Split::test))->size() == 10);  // the other part is not read
}

TEST_CASE("MNIST's files: a missing companion is named, whichever part is asked for") {
  Scratch scratch;
  put_mnist(scratch);
  std::filesystem::remove(scratch / "data/train-labels-idx1-ubyte");
  CHECK(contains(refusal(at(scratch)), "train-labels-idx1-ubyte[.gz] is missing"));
  CHECK(contains(refusal(at(scratch, Split::test)), "train-labels-idx1-ubyte[.gz] is missing"));
}

TEST_CASE("CIFAR-10's files: batches in order, planes interleaved") {
  Scratch scratch;
  put(scratch, "data/data_batch_1.bin", records(12, 1, 10));
  put(scratch, "data/data_batch_2.bin", records(11, 1, 10));
  put(scratch, "data/test_batch.bin", records(10, 1, 10));
  const auto train = open_dataset(at(scratch)), val = open_dataset(at(scratch, Split::test));
  CHECK(train->size() == 23);
  CHECK(val->size() == 10);
  CHECK(train->name(22) == "train/00022");
  CHECK(val->name(0) == "test/00000");
  CHECK(train->label(22) == 0);
  CHECK(train->classes()[0] == "airplane");
  CHECK(train->classes()[9] == "truck");
  CHECK(train->native_size() == 32);
  const Image image = train->load(13);  // record 1 of the second batch
  CHECK(image.channels == 3);
  REQUIRE(image.pixels.size() == 3072);
  for (int i = 0; i < 1024; ++i) {
    CHECK(image.pixels[i * 3] == 1);
    CHECK(image.pixels[i * 3 + 1] == 100);
    CHECK(image.pixels[i * 3 + 2] == 200);
  }
  put(scratch, "data/batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  CHECK(open_dataset(at(scratch))->classes()[9] == "j");
  put(scratch, "data/batches.meta.txt", "a\nb\n");
  CHECK(contains(refusal(at(scratch)), "holds 2 class names, expected 10"));
  put(scratch, "data/batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\na\n");
  CHECK(contains(refusal(at(scratch)), "names the class 'a' twice"));
}

TEST_CASE("CIFAR-100's files: the fine label counts") {
  Scratch scratch;
  put(scratch, "data/train.bin", records(101, 2, 100));
  put(scratch, "data/test.bin", records(5, 2, 100));
  const auto train = open_dataset(at(scratch));
  CHECK(train->size() == 101);
  CHECK(train->label(42) == 42);
  CHECK(train->classes().size() == 100);
  CHECK(train->classes()[42] == "42");
  std::string names;
  for (int i = 0; i < 100; ++i) names += "fine" + std::to_string(i) + "\n";
  put(scratch, "data/fine_label_names.txt", names);
  CHECK(open_dataset(at(scratch))->classes()[42] == "fine42");
}

TEST_CASE("CIFAR's files: damage is named") {
  Scratch scratch;
  put(scratch, "data/data_batch_1.bin", records(20, 1, 10));
  SUBCASE("a part of a record") {
    put(scratch, "data/data_batch_1.bin", records(20, 1, 10).substr(0, 5000));
    CHECK(contains(refusal(at(scratch)), "data_batch_1.bin: 5000 bytes are no whole number of records of 3073"));
  }
  SUBCASE("nothing") {
    put(scratch, "data/data_batch_1.bin", "");
    CHECK(contains(refusal(at(scratch)), "no whole number of records"));
  }
  SUBCASE("a label out of range") {
    put(scratch, "data/data_batch_1.bin", records(20, 1, 12));
    CHECK(contains(refusal(at(scratch)), "the label of record 10 is 10, expected 0 to 9"));
  }
  SUBCASE("still packed") {
    std::filesystem::rename(scratch / "data/data_batch_1.bin", scratch / "data/data_batch_1.bin.xz");
    CHECK(contains(refusal(at(scratch)), "data_batch_1.bin.xz: is packed; unpack"));
  }
}
