// The training loop: pictures with and without labels, averaged weights, batch norm's statistics, and that a run which
// was stopped ends with the same bits.
#include "engine/distill/trainer.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "engine/data/joined.h"
#include "engine/distill/evaluate.h"
#include "tests/engine/small_training.h"

using namespace retort;
using namespace retort::test;

namespace {

std::unique_ptr<Dataset> partly_labelled() {
  return join_unlabelled(std::make_shared<Colours>("l", 12, true), {std::make_shared<Colours>("u", 28, false)});
}

}  // namespace

TEST_CASE("training step: rows without a label have lambda 0, and the parts count as means over all rows") {
  SmallNet network;
  Optimizer optimizer(parameters(network), {.momentum = 0});
  StepSettings settings;
  settings.distillation = {.temperature = 3, .lambda = 0.25, .soft_weight = 1.5};
  settings.dropout = 0;
  TrainingStep step(network, optimizer, settings);
  Tensor x = Tensor::empty({5, 4, 4, 3}), teacher = Tensor::empty({5, 2});
  fill_uniform(x, -1, 1, Random(1));
  fill_uniform(teacher, -2, 2, Random(2));
  const Tensor labels = Tensor::from<std::int64_t>({5}, std::array<std::int64_t, 5>{1, 0, -1, -1, -1});
  const StepResults results = step.run({.x = x, .labels = labels, .teacher = teacher, .labelled = 2}, /*lr=*/0);
  DistillationSettings soft = settings.distillation;
  soft.lambda = 0;
  const Tensor &z = results.logits,
               with =
                   distillation_loss(z.rows(0, 2), teacher.rows(0, 2),
                                     {.labels = labels.rows(0, 2), .labels2 = {}, .weight = {}}, settings.distillation)
                       .parts,
               without = distillation_loss(z.rows(2, 3), teacher.rows(2, 3), {}, soft).parts;
  const auto part = [](const Tensor& parts, int i) { return static_cast<double>(parts.data<float>()[i]); };
  for (int i = 0; i < 3; ++i)
    CHECK(part(results.parts, i) == doctest::Approx((2 * part(with, i) + 3 * part(without, i)) / 5).epsilon(1e-6));
  CHECK(results.total.item() == part(results.parts, 0));
  CHECK(part(without, 1) == 0);
  CHECK_THROWS_AS(step.run({.x = x, .labels = labels, .labelled = 2}, 0), Error);
}

TEST_CASE("trainer: accuracy and the hard loss count rows with a label, the soft loss and KL all of them") {
  const auto data = partly_labelled();
  const auto teacher = small_teacher(*data);
  TrainSettings settings = small_settings();
  settings.epochs = 1;
  settings.schedule.lr = 1e-30;  // the weights stay as they are
  settings.schedule.kind = ScheduleKind::constant;
  settings.dropout = 0;
  settings.unlabelled_share = 0.5;
  settings.distillation.lambda = 1e-9;
  const Scratch scratch;
  SmallRun run;
  std::int64_t labelled = 0, rows = 0;
  double hard = 0, soft = 0, right = 0;
  // The epoch's steps once more, by hand.
  LoaderOptions loading;
  loading.preprocessings = {small_preprocessing()};
  loading.augmentation = settings.augmentation;
  loading.plan = plan_sampling(*data, settings.batch_size, 0.5);
  loading.plan->views = 1;
  settings.views = 1;
  Loader loader(*data, loading);
  loader.start(0, 0);
  SmallNet fresh;
  for (Batch batch; loader.next(batch);) {
    ForwardContext context;
    context.training = true;
    context.dropout = 0;
    const Tensor z = fresh.forward(batch.inputs[0], context), v = teacher->logits(batch, 0);
    const DistillationSettings kd{.temperature = 2, .lambda = 0};
    soft += static_cast<double>(z.shape()[0]) * distillation_loss(z, v, {}, kd).parts.data<float>()[2];
    hard += static_cast<double>(*batch.labelled) *
            cross_entropy(z.rows(0, *batch.labelled),
                          {.labels = batch.labels.rows(0, *batch.labelled), .labels2 = {}, .weight = {}})
                .item();
    for (std::int64_t i = 0; i < *batch.labelled; ++i)
      right += (z.data<float>()[2 * i + 1] > z.data<float>()[2 * i]) == (batch.labels.data<std::int64_t>()[i] == 1);
    labelled += *batch.labelled;
    rows += z.shape()[0];
  }
  CHECK(labelled * 2 == rows);
  run_small(run, settings, *data, nullptr, teacher.get(), scratch / "state");
  REQUIRE(run.reports.size() == 1);
  const EpochMetrics& found = run.reports[0].train;
  CHECK(found.hard == doctest::Approx(hard / static_cast<double>(labelled)).epsilon(1e-6));
  CHECK(found.accuracy == doctest::Approx(right / static_cast<double>(labelled)).epsilon(1e-12));
  CHECK(found.soft == doctest::Approx(soft / static_cast<double>(rows)).epsilon(1e-6));
  CHECK(found.kl == doctest::Approx(found.soft / 4).epsilon(1e-6));  // T^2 KL
  CHECK(found.top5 == 1);
}

TEST_CASE("trainer: a student learns from pictures without labels") {
  const auto data = partly_labelled();
  const auto teacher = small_teacher(*data);
  const Colours val("v", 40, true);
  TrainSettings settings = small_settings();
  settings.epochs = 8;
  settings.views = 1;
  const Scratch scratch;
  SmallRun run;
  run_small(run, settings, *data, &val, teacher.get(), scratch / "state");
  CHECK(run.reports.back().val->accuracy >= 0.9);
  CHECK(run.reports.back().train.kl < run.reports.front().train.kl);
}

TEST_CASE("trainer: a stopped run ends with the bits of one that never stopped") {
  const auto data = partly_labelled();
  const auto teacher = small_teacher(*data, 2);
  const Colours val("v", 10, true);
  TrainSettings settings = small_settings();
  settings.views = 2;
  SUBCASE("with and without labels") {}
  SUBCASE("a chosen share") { settings.unlabelled_share = 0.3; }
  SUBCASE("averaged weights") { settings.ema = 0.9; }
  SUBCASE("averaged weights, no statistics anew, few checkpoints") {
    settings.ema = 0.9;
    settings.recalibrate.when = RecalibrationSettings::When::off;
    settings.checkpoint_every = 2;
  }
  SUBCASE("statistics anew over few pictures, and mixing") {
    settings.recalibrate = {RecalibrationSettings::When::always, 17};
    settings.mixup = 0.4;
    settings.cutmix = 1;
    settings.augmentation.erase = settings.augmentation.randaugment = true;
  }
  SUBCASE("decay and learning rates by parameter") {
    settings.optimizer = {.kind = OptimizerKind::adamw, .weight_decay = 0.1, .decay_vectors = false, .max_norm = 1};
    settings.optimizer.lr_factors = {{"fc.weight", 3}, {"fc.bias", 3}};
  }
  for (const std::int64_t stride : {1, 4}) CHECK(resumes_exactly(settings, *data, &val, teacher.get(), stride));
}

TEST_CASE("trainer: pictures without labels need a teacher, and a loss that reads none") {
  const auto data = partly_labelled();
  const auto teacher = small_teacher(*data);
  const Scratch scratch;
  SmallRun run;
  TrainSettings settings = small_settings();
  CHECK_THROWS_AS(run_small(run, settings, *data, nullptr, nullptr, scratch / "state"), UsageError);
  settings.distillation.loss = SoftLoss::nkd;
  CHECK_THROWS_AS(run_small(run, settings, *data, nullptr, teacher.get(), scratch / "state"), UsageError);
}

TEST_CASE("trainer: averaged weights are what is validated and saved, and what the network ends with") {
  const Colours data("l", 24, true), val("v", 16, true);
  TrainSettings settings = small_settings();
  settings.epochs = 2;
  settings.recalibrate.when = RecalibrationSettings::When::off;
  const Scratch scratch;
  SmallRun plain, averaged;
  run_small(plain, settings, data, &val, nullptr, scratch / "plain");
  settings.ema = 0.99;
  run_small(averaged, settings, data, &val, nullptr, scratch / "averaged");
  // Training itself is the same.
  for (std::size_t epoch = 0; epoch < 2; ++epoch)
    CHECK(averaged.reports[epoch].train.loss == plain.reports[epoch].train.loss);
  CHECK(averaged.reports[1].val->loss != plain.reports[1].val->loss);
  CHECK(averaged.saved[1] == bytes_of(averaged.network));
  CHECK(averaged.saved[1] != plain.saved[1]);
  EvaluateOptions options;
  options.batch_size = 8;
  const Evaluation again = evaluate(averaged.network, val, small_preprocessing(), 2, options);
  CHECK(again.cross_entropy == averaged.reports[1].val->hard);
  settings.ema = 1;
  SmallRun refused;
  CHECK_THROWS_AS(run_small(refused, settings, data, &val, nullptr, scratch / "refused"), UsageError);
}
