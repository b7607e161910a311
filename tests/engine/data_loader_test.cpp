#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/data/loader.h"
#include "tests/engine/data_files.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

const Preprocessing kSmall{6, 3, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}, kGrey{9, 1, {0}, {1}};

/// 23 samples in two classes.
struct Folder {
  Scratch scratch;
  std::unique_ptr<Dataset> dataset;

  Folder() {
    put_class(scratch, "data/a", 12);
    put_class(scratch, "data/b", 11);
    open();
  }
  void open() {
    DatasetOptions options;
    options.path = scratch / "data";
    options.val_split = 0;
    dataset = open_dataset(options);
  }
};

LoaderOptions plain() {
  LoaderOptions options;
  options.batch_size = 5;
  options.preprocessings = {kSmall, kGrey};
  return options;
}

/// All that an epoch delivers, as bytes.
struct Epoch {
  std::vector<std::int64_t> indices, sizes, labels;
  std::vector<float> values;
  bool operator==(const Epoch& other) const {
    return indices == other.indices && sizes == other.sizes && labels == other.labels &&
           values.size() == other.values.size() &&
           std::memcmp(values.data(), other.values.data(), values.size() * sizeof(float)) == 0;
  }
};

Epoch rest(Loader& loader) {
  Epoch epoch;
  for (Batch batch; loader.next(batch);) {
    epoch.sizes.push_back(static_cast<std::int64_t>(batch.indices.size()));
    epoch.indices.insert(epoch.indices.end(), batch.indices.begin(), batch.indices.end());
    if (batch.labels)
      for (const std::int64_t label : batch.labels.span<std::int64_t>()) epoch.labels.push_back(label);
    for (const Tensor& input : batch.inputs)
      for (const float value : input.span<float>()) epoch.values.push_back(value);
  }
  return epoch;
}

Epoch run(const Dataset& dataset, const LoaderOptions& options, std::uint64_t number = 0, std::int64_t skip = 0) {
  Loader loader(dataset, options);
  loader.start(number, number, skip);
  return rest(loader);
}

}  // namespace

TEST_CASE("a loader delivers every sample once, in order") {
  const Folder folder;
  const Epoch epoch = run(*folder.dataset, plain());
  CHECK(epoch.sizes == std::vector<std::int64_t>{5, 5, 5, 5, 3});
  for (std::int64_t i = 0; i < 23; ++i) {
    CHECK(epoch.indices[i] == i);
    CHECK(epoch.labels[i] == (i < 12 ? 0 : 1));
  }
  Loader loader(*folder.dataset, plain());
  CHECK(loader.batches() == 5);
  Batch batch;
  CHECK_FALSE(loader.next(batch));  // not started
  loader.start(0, 0);
  REQUIRE(loader.next(batch));
  REQUIRE(batch.inputs.size() == 2);
  CHECK(batch.inputs[0].shape() == Shape{5, 6, 6, 3});
  CHECK(batch.inputs[1].shape() == Shape{5, 9, 9, 1});
  CHECK(batch.labels.shape() == Shape{5});
  CHECK(batch.labels.dtype() == DType::i64);
}

TEST_CASE("a batch holds what render gives for each sample") {
  const Folder folder;
  LoaderOptions options = plain();
  options.augmentation = {true, true, true};
  options.view_seed = 5;
  Loader loader(*folder.dataset, options);
  loader.start(0, 7);
  Batch batch;
  REQUIRE(loader.next(batch));
  REQUIRE(loader.next(batch));
  for (std::int64_t i = 0; i < 5; ++i) {
    const Image image = folder.dataset->load(5 + i);
    std::vector<float> expected(6 * 6 * 3);
    render(image, draw_view(image, options.augmentation, 5, 7, folder.dataset->name(5 + i)), kSmall, expected.data());
    for (std::size_t k = 0; k < expected.size(); ++k)
      CHECK(batch.inputs[0].data<float>()[i * 108 + static_cast<std::int64_t>(k)] == expected[k]);
  }
}

TEST_CASE("the same bits for any number of workers, batches ahead and cached images") {
  const Folder folder;
  LoaderOptions options = plain();
  options.augmentation = {true, true, true};
  options.shuffle = true;
  const Epoch expected = run(*folder.dataset, options, 3);
  for (const int workers : {1, 2, 7})
    for (const int prefetch : {1, 3, 50})
      for (const std::int64_t cache : {0, 1000, 1 << 20}) {
        options.workers = workers;
        options.prefetch = prefetch;
        options.cache_bytes = cache;
        Loader loader(*folder.dataset, options);
        loader.start(2, 2);
        rest(loader);
        loader.start(3, 3);  // from the cache, where there is one
        CHECK((rest(loader) == expected));
      }
}

TEST_CASE("shuffling depends on seed and epoch, and loses nothing") {
  const Folder folder;
  LoaderOptions options = plain();
  options.shuffle = true;
  const std::vector<std::int64_t> first = run(*folder.dataset, options, 0).indices;
  CHECK(first == run(*folder.dataset, options, 0).indices);
  CHECK(first != run(*folder.dataset, options, 1).indices);
  options.seed = 1;
  CHECK(first != run(*folder.dataset, options, 0).indices);
  std::vector<std::int64_t> sorted = first;
  std::ranges::sort(sorted);
  for (std::int64_t i = 0; i < 23; ++i) CHECK(sorted[i] == i);
}

TEST_CASE("skipping batches resumes in the middle of an epoch") {
  const Folder folder;
  LoaderOptions options = plain();
  options.shuffle = true;
  options.augmentation.flip = true;
  const Epoch whole = run(*folder.dataset, options, 4), end = run(*folder.dataset, options, 4, 3);
  CHECK(std::equal(end.indices.begin(), end.indices.end(), whole.indices.end() - 8, whole.indices.end()));
  CHECK(std::equal(end.values.begin(), end.values.end(),
                   whole.values.end() - static_cast<std::ptrdiff_t>(end.values.size())));
  CHECK(run(*folder.dataset, options, 4, 5).indices.empty());
}

TEST_CASE("smallest leaves out a last batch of fewer") {
  const Folder folder;
  LoaderOptions options = plain();
  options.batch_size = 11;
  options.smallest = 2;
  CHECK(run(*folder.dataset, options).sizes == std::vector<std::int64_t>{11, 11});
  options.smallest = 1;
  CHECK(run(*folder.dataset, options).sizes == std::vector<std::int64_t>{11, 11, 1});
  options.smallest = 2;
  options.batch_size = 10;
  CHECK(run(*folder.dataset, options).sizes == std::vector<std::int64_t>{10, 10, 3});
  options.batch_size = 1;
  CHECK(run(*folder.dataset, options).sizes.size() == 23);
  options.smallest = 4;
  CHECK(run(*folder.dataset, options).sizes.size() == 23);
  options.batch_size = 10;
  CHECK(run(*folder.dataset, options).sizes == std::vector<std::int64_t>{10, 10});
}

TEST_CASE("a bad file throws in its batch's turn, the first of the batch, and loading goes on") {
  Folder folder;
  put(folder.scratch, "data/a/006.ppm", "broken");
  put(folder.scratch, "data/a/008.ppm", "broken");
  for (const int workers : {1, 4}) {
    LoaderOptions options = plain();
    options.workers = workers;
    Loader loader(*folder.dataset, options);
    loader.start(0, 0);
    Batch batch;
    REQUIRE(loader.next(batch));
    CHECK(error_message([&] { loader.next(batch); }).starts_with(folder.scratch / "data/a/006.ppm"));
    REQUIRE(loader.next(batch));
    CHECK(batch.indices[0] == 10);
  }
}

TEST_CASE("a loader stops and restarts in the middle of an epoch") {
  const Folder folder;
  LoaderOptions options = plain();
  options.workers = 3;
  const Epoch expected = run(*folder.dataset, options, 1);
  for (int repeat = 0; repeat < 20; ++repeat) {
    Loader loader(*folder.dataset, options);
    loader.start(0, 0);
    Batch batch;
    for (int i = 0; i < repeat % 4; ++i) loader.next(batch);
    loader.start(1, 1);
    if (repeat % 2) continue;  // destroyed while workers are busy
    CHECK((rest(loader) == expected));
  }
}

TEST_CASE("an unlabelled set has no labels") {
  Scratch scratch;
  put(scratch, "data/a.ppm", pnm(pattern(3, 2, 3)));
  DatasetOptions data;
  data.path = scratch / "data";
  data.val_split = 0;
  data.allow_unlabelled = true;
  const auto dataset = open_dataset(data);
  Loader loader(*dataset, plain());
  loader.start(0, 0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK_FALSE(batch.labels);
  CHECK(batch.inputs[0].shape() == Shape{1, 6, 6, 3});
}

TEST_CASE("a loader refuses a batch size below 1") {
  const Folder folder;
  LoaderOptions options = plain();
  options.batch_size = 0;
  CHECK_THROWS_AS(Loader(*folder.dataset, options), UsageError);
}
