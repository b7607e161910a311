#include "engine/distill/gather_logits.h"

#include <doctest/doctest.h>

#include "engine/data/joined.h"
#include "engine/distill/teacher.h"
#include "tests/engine/small_training.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Logits whose first column is 100 * view + start + row, of two views or one.
LogitStore store_of(const std::vector<std::string>& names, std::int64_t views, float start) {
  LogitStore store;
  store.classes = {"red", "blue"};
  store.views = views;
  const auto n = static_cast<std::int64_t>(names.size());
  store.logits = Tensor::zeros({views * n, 2});
  for (std::int64_t view = 0; view < views; ++view)
    for (std::int64_t i = 0; i < n; ++i) {
      store.names.push_back(names[static_cast<std::size_t>(i)]);
      store.logits.tensor().data<float>()[2 * (view * n + i)] = static_cast<float>(100 * view + i) + start;
    }
  return store;
}

std::unique_ptr<Dataset> data() {
  return join_unlabelled(std::make_shared<Colours>("x/l", 2, true), {std::make_shared<Colours>("u", 2, false)});
}

std::vector<float> first_column(const LogitStore& store) {
  std::vector<float> column;
  for (std::int64_t i = 0; i < store.logits.tensor().count(); i += 2)
    column.push_back(store.logits.tensor().data<float>()[i]);
  return column;
}

}  // namespace

TEST_CASE("gather_logits: each sample's row from the first store that knows it, with or without its folder") {
  const auto set = data();
  const LogitStore found = gather_logits({store_of({"u1", "l1", "l0"}, 1, 10), store_of({"x/l0", "u0", "else"}, 1, 20)},
                                         {"a.csv", "b.csv"}, *set);
  CHECK(found.names == std::vector<std::string>{"x/l0", "x/l1", "u0", "u1"});
  CHECK(first_column(found) == std::vector<float>{12, 11, 21, 10});
  CHECK(found.hashes.empty());
  CHECK(match_logit_store(found, "both", *set) == std::vector<std::int64_t>{0, 1, 2, 3});
}

TEST_CASE("gather_logits: one view stands for all where another store has several") {
  LogitStore views = store_of({"x/l0", "x/l1"}, 2, 10);
  views.augmentation.flip = true;
  views.seed = 5;
  const LogitStore found = gather_logits({store_of({"u0", "u1"}, 1, 20), views}, {"a.csv", "b.npy"}, *data());
  CHECK(found.views == 2);
  CHECK(found.augmentation.flip);
  CHECK(found.seed == 5);
  CHECK(first_column(found) == std::vector<float>{10, 11, 20, 21, 110, 111, 20, 21});
}

TEST_CASE("gather_logits: refuses what does not fit, by name") {
  const auto set = data();
  const auto message = [&](const std::vector<LogitStore>& stores) {
    return error_message([&] { gather_logits(stores, {"a.csv", "b.csv"}, *set); });
  };
  const LogitStore most = store_of({"x/l0", "x/l1", "u0"}, 1, 0);
  CHECK(message({most, most}) == "u1: has no logits in a.csv or the 1 others; add logits of this image");
  LogitStore other = store_of({"u1"}, 1, 0);
  other.classes = {"blue", "red"};
  CHECK(message({most, other}).starts_with("b.csv: its classes are not those of the images"));
  LogitStore changed = store_of({"u1"}, 1, 0);
  changed.hashes = {"another"};
  CHECK(message({most, changed}).starts_with("u1: its content changed since b.csv"));
  LogitStore two = store_of({"x/l0"}, 2, 0), three = store_of({"x/l1"}, 3, 0);
  CHECK(message({two, three}).starts_with("a.csv: its views are not those of b.csv"));
}

TEST_CASE("a cached teacher: one view for all, or a view for each sample of a batch") {
  Batch batch;
  batch.indices = {1, 0};
  CachedTeacher any(store_of({"a", "b"}, 1, 0), {0, 1}, /*any_view=*/true);
  CHECK(any.logits(batch, 17).data<float>()[0] == 1);
  CachedTeacher strict(store_of({"a", "b"}, 1, 0), {0, 1});
  CHECK_THROWS_AS(strict.logits(batch, 1), Error);
  CHECK_THROWS_AS(CachedTeacher(store_of({"a", "b"}, 2, 0), {0, 1}, true), Error);
  batch.views = {0, 1};
  CachedTeacher two(store_of({"a", "b"}, 2, 0), {0, 1});
  const Tensor rows = two.logits(batch, 99);
  CHECK(rows.data<float>()[0] == 1);
  CHECK(rows.data<float>()[2] == 100);
}
