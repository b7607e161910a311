// On the real data sets, where they are at hand.
#include <doctest/doctest.h>

#include <set>

#include "engine/data/dataset.h"
#include "tests/engine/data_files.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("MNIST as published") {
  DatasetOptions options;
  options.path = real_data("mnist");
  if (options.path.empty()) {
    MESSAGE("skipped: no folder mnist in RETORT_DATA");
    return;
  }
  options.val_split = 0;
  const auto train = open_dataset(options);
  options.split = Split::test;
  const auto test = open_dataset(options);
  CHECK(train->size() == 60000);
  CHECK(test->size() == 10000);
  std::vector<int> counts(10);
  for (std::int64_t i = 0; i < test->size(); ++i) ++counts[test->label(i)];
  CHECK(counts == std::vector<int>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
  CHECK(train->label(0) == 5);
  CHECK(train->name(42) == "train/00042");
  CHECK(train->load(59999).pixels.size() == 784);
}

TEST_CASE("the photos of cats and dogs") {
  DatasetOptions options;
  options.path = real_data("cats-dogs");
  if (options.path.empty()) {
    MESSAGE("skipped: no folder cats-dogs in RETORT_DATA");
    return;
  }
  options.whole = true;
  const auto all = open_dataset(options);
  CHECK(all->size() == 1399);
  CHECK(all->classes() == std::vector<std::string>{"cat", "dog"});
  for (std::int64_t i = 0; i < all->size(); i += 50) CHECK(all->load(i).channels == 3);
  options.whole = false;
  const std::int64_t train = open_dataset(options)->size();
  options.split = Split::val;
  CHECK(train + open_dataset(options)->size() == 1399);
  CHECK(open_dataset(options)->size() == 140);
}
