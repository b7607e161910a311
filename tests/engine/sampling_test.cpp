// Labelled and unlabelled samples in one dataset, and how they share batches.
#include "engine/data/sampling.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/check.h"
#include "engine/data/joined.h"
#include "engine/data/loader.h"
#include "tests/engine/data_files.h"
#include "tests/engine/named_dataset.h"
#include "tests/error_message.h"

using namespace retort;
using namespace retort::test;

namespace {

/// Samples called prefix0, prefix1, ... that have no label.
class Bare final : public Dataset {
 public:
  Bare(const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) names_.push_back(prefix + std::to_string(i));
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t index) const override { return names_[static_cast<std::size_t>(index)]; }
  std::int64_t label(std::int64_t) const override { return -1; }
  Image load(std::int64_t) const override { return {}; }
  std::string content_hash(std::int64_t index) const override { return "hash of " + name(index); }

 private:
  std::vector<std::string> names_;
};

/// 10 labelled samples of two classes, then 25 and 5 without a label.
std::unique_ptr<Dataset> forty() {
  return join_unlabelled(std::make_shared<Named>(std::vector<int>{4, 6}),
                         {std::make_shared<Bare>("u", 25), std::make_shared<Bare>("v", 5)});
}

}  // namespace

TEST_CASE("join_unlabelled: all samples under their own names, labels of the first set only") {
  // A set of classes may serve without its labels.
  const auto joined =
      join_unlabelled(std::make_shared<Named>(std::vector<int>{1, 2}),
                      {std::make_shared<Bare>("u", 2), std::make_shared<Named>(std::vector<int>{0, 0, 1})});
  REQUIRE(joined->size() == 6);
  const std::vector<std::string> names = {"0/0", "1/0", "1/1", "u0", "u1", "2/0"};
  const std::vector<std::int64_t> labels = {0, 1, 1, -1, -1, -1};
  for (std::int64_t i = 0; i < 6; ++i) {
    CHECK(joined->name(i) == names[i]);
    CHECK(joined->label(i) == labels[i]);
    CHECK(joined->labelled(i) == (i < 3));
  }
  CHECK(joined->content_hash(4) == "hash of u1");
  CHECK(joined->classes() == std::vector<std::string>{"class0", "class1"});
  CHECK(labelled_samples(*joined) == 3);
  CHECK(labelled_samples(Bare("u", 3)) == 0);
}

TEST_CASE("join_unlabelled: refuses a name that two samples have, and a first set without labels") {
  const auto labelled = std::make_shared<Named>(std::vector<int>{1, 2});
  CHECK(error_message([&] {
          join_unlabelled(labelled, {std::make_shared<Bare>("u", 2), std::make_shared<Bare>("u", 1)});
        }) == "u0: two of the images are called so, and logits are found by name; rename one of them");
  CHECK_THROWS_AS(join_unlabelled(std::make_shared<Bare>("u", 2), {}), UsageError);
}

TEST_CASE("plan_sampling: the samples' own share, or the one that is asked for") {
  const auto data = forty();
  const SamplingPlan own = plan_sampling(*data, 8);
  CHECK(own.labelled == 2);
  CHECK(own.unlabelled == 6);
  CHECK(own.batches == 5);
  CHECK(own.unlabelled_share() == 0.75);
  const SamplingPlan half = plan_sampling(*data, 12, 0.5);
  CHECK(half.labelled == 6);
  CHECK(half.unlabelled == 6);
  CHECK(half.batches == 3);  // 40 / 12, rounded
  CHECK(plan_sampling(*data, 8, 0.001).unlabelled == 1);
  CHECK(plan_sampling(*data, 8, 0.999).labelled == 1);
  const SamplingPlan whole = plan_sampling(*data, 1000);
  CHECK(whole.batch_size() == 40);
  CHECK(whole.batches == 1);
  CHECK_THROWS_AS(plan_sampling(*data, 1), UsageError);
  for (const double share : {0.0, 1.0, -1.0, std::nan("")}) CHECK_THROWS_AS(plan_sampling(*data, 8, share), UsageError);
  CHECK_THROWS_AS(plan_sampling(Named({2, 3}), 2), Error);
}

TEST_CASE("draw_epoch: every batch has the same split, and no sample is drawn twice more than another of its kind") {
  const auto data = forty();
  for (const std::optional<double> share : {std::optional<double>(), std::optional(0.3), std::optional(0.9)}) {
    const SamplingPlan plan = plan_sampling(*data, 7, share);
    std::map<std::int64_t, std::int64_t> times;
    for (std::uint64_t epoch = 0; epoch < 9; ++epoch) {
      const std::vector<Draw> epoch_draws = draw_epoch(*data, plan, 5, epoch);
      REQUIRE(epoch_draws.size() == static_cast<std::size_t>(plan.batches * plan.batch_size()));
      for (std::size_t i = 0; i < epoch_draws.size(); ++i) {
        const bool labelled = static_cast<std::int64_t>(i) % plan.batch_size() < plan.labelled;
        CHECK(data->labelled(epoch_draws[i].index) == labelled);
        // The view counts how often the sample was drawn before.
        CHECK(epoch_draws[i].view == static_cast<std::uint64_t>(times[epoch_draws[i].index]++));
      }
      for (const bool labelled : {true, false}) {
        std::int64_t least = 1 << 30, most = 0;
        for (std::int64_t i = 0; i < data->size(); ++i) {
          if (data->labelled(i) != labelled) continue;
          least = std::min(least, times[i]);
          most = std::max(most, times[i]);
        }
        CHECK(most - least <= 1);
      }
    }
  }
}

TEST_CASE("draw_epoch: depends on seed and epoch, and views repeat where there are only so many") {
  const auto data = forty();
  SamplingPlan plan = plan_sampling(*data, 8, 0.2);
  const auto order = [&](std::uint64_t seed, std::uint64_t epoch) {
    std::vector<std::int64_t> indices;
    for (const Draw& draw : draw_epoch(*data, plan, seed, epoch)) indices.push_back(draw.index);
    return indices;
  };
  CHECK(order(1, 3) == order(1, 3));
  CHECK(order(1, 3) != order(2, 3));
  CHECK(order(1, 3) != order(1, 4));
  const std::vector<Draw> free = draw_epoch(*data, plan, 1, 6);
  CHECK(std::ranges::any_of(free, [](const Draw& draw) { return draw.view > 2; }));
  plan.views = 2;
  const std::vector<Draw> stored = draw_epoch(*data, plan, 1, 6);
  for (std::size_t i = 0; i < free.size(); ++i) {
    CHECK(stored[i].index == free[i].index);
    CHECK(stored[i].view == free[i].view % 2);
  }
}

TEST_CASE("a loader with a plan: rows with a label first, each sample in its own view, resumed to the same bits") {
  Scratch scratch;
  put_class(scratch, "data/a", 3);
  put_class(scratch, "data/b", 2);
  put_class(scratch, "more", 12);
  const auto open = [&](const char* folder) {
    DatasetOptions options;
    options.path = scratch / folder;
    options.val_split = 0;
    options.allow_unlabelled = true;
    return std::shared_ptr<const Dataset>(open_dataset(options));
  };
  const auto data = join_unlabelled(open("data"), {open("more")});
  LoaderOptions options;
  options.preprocessings = {{6, 3, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}};
  options.augmentation.crop = options.augmentation.flip = true;
  options.seed = 3;
  options.view_seed = 4;
  options.plan = plan_sampling(*data, 6, 0.5);
  Loader loader(*data, options);
  CHECK(loader.batches() == 3);
  loader.start(2, 99);
  std::vector<std::vector<float>> batches;
  const std::vector<Draw> draws = draw_epoch(*data, *options.plan, 3, 2);
  std::int64_t at = 0;
  for (Batch batch; loader.next(batch);) {
    REQUIRE(batch.indices.size() == 6);
    CHECK(batch.labelled == 3);
    for (std::int64_t i = 0; i < 6; ++i, ++at) {
      CHECK(batch.indices[i] == draws[at].index);
      CHECK(batch.views[i] == draws[at].view);
      CHECK(batch.labels.data<std::int64_t>()[i] == data->label(draws[at].index));
      CHECK((batch.labels.data<std::int64_t>()[i] >= 0) == (i < 3));
      const Image image = data->load(draws[at].index);
      std::vector<float> expected(6 * 6 * 3);
      render(image, draw_view(image, options.augmentation, 4, draws[at].view, data->name(draws[at].index)),
             options.preprocessings[0], expected.data());
      CHECK(std::equal(expected.begin(), expected.end(), batch.inputs[0].data<float>() + i * 108));
    }
    batches.emplace_back(batch.inputs[0].span<float>().begin(), batch.inputs[0].span<float>().end());
  }
  CHECK(at == 18);
  loader.start(2, 99, /*skip=*/2);
  Batch last;
  REQUIRE(loader.next(last));
  CHECK(std::ranges::equal(last.inputs[0].span<float>(), batches[2]));
  CHECK_FALSE(loader.next(last));
}
