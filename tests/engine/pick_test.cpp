// Parts of a dataset: which samples are held out, and that a part shows them as they are.
#include "engine/data/pick.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "engine/core/check.h"
#include "tests/engine/named_dataset.h"

namespace retort {
namespace {

std::set<std::string> names_of(const Dataset& dataset, const std::vector<std::int64_t>& samples) {
  std::set<std::string> names;
  for (const std::int64_t sample : samples) names.insert(dataset.name(sample));
  return names;
}

}  // namespace

TEST_CASE("hold_out: each sample is in one part, each class in both, by its share") {
  const test::Named dataset({20, 2, 9});
  const HeldOut parts = hold_out(dataset, 0.1);
  CHECK(std::ranges::is_sorted(parts.kept));
  CHECK(std::ranges::is_sorted(parts.held));
  std::vector<std::int64_t> all = parts.kept;
  all.insert(all.end(), parts.held.begin(), parts.held.end());
  std::ranges::sort(all);
  for (std::int64_t i = 0; i < dataset.size(); ++i) CHECK(all.at(static_cast<std::size_t>(i)) == i);
  const auto held_of = [&](std::int64_t c) {
    return std::ranges::count_if(parts.held, [&](std::int64_t i) { return dataset.label(i) == c; });
  };
  CHECK(held_of(0) == 2);
  CHECK(held_of(1) == 1);  // one at least
  CHECK(held_of(2) == 1);
  CHECK(std::ranges::count_if(hold_out(dataset, 0.99).kept, [&](std::int64_t i) { return dataset.label(i) == 1; }) ==
        1);
}

TEST_CASE("hold_out: another class moves nothing") {
  const test::Named small({20}), large({20, 5});
  const std::set<std::string> before = names_of(small, hold_out(small, 0.3).held);
  const std::set<std::string> after = names_of(large, hold_out(large, 0.3).held);
  CHECK(before.size() == 6);
  CHECK(std::ranges::includes(after, before));
}

TEST_CASE("hold_out: a class of one sample is named") {
  CHECK_THROWS_WITH_AS(
      hold_out(test::Named({3, 1}), 0.1),
      "class class1: 1 images to train on, and holding some out takes two; add more or leave the class out", Error);
}

TEST_CASE("pick_samples: two parts of one dataset") {
  const auto dataset = std::make_shared<const test::Named>(std::vector<int>{3, 3});
  const auto one = pick_samples(dataset, {5, 0}), other = pick_samples(dataset, {1});
  CHECK(one->size() == 2);
  CHECK(one->name(0) == "1/2");
  CHECK(one->label(1) == 0);
  CHECK(other->name(0) == "0/1");
  CHECK(other->classes() == dataset->classes());
}

}  // namespace retort
