#include "engine/distill/objective.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/ops/loss.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

DistillationSettings with(SoftLoss loss, bool standardize = false) {
  DistillationSettings settings;
  settings.temperature = 4;
  settings.lambda = 0.25;
  settings.loss = loss;
  settings.standardize = standardize;
  return settings;
}

Targets labels(std::vector<std::int64_t> values) {
  Targets targets;
  targets.labels = Tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())}, values);
  return targets;
}

}  // namespace

TEST_CASE("objective: losses by name") {
  const std::string all = soft_loss_words(), without_labels = soft_loss_words(/*without_labels=*/true);
  for (const SoftLossRow& row : kSoftLosses) {
    CAPTURE(row.word);
    CHECK(&row_of(row.value) == &row);  // one row a loss
    CHECK(all.find(row.word) != std::string::npos);
    CHECK((without_labels.find(row.word) == std::string::npos) == row.reads_labels);
  }
  CHECK(row_of(SoftLoss::dkd).reads_labels);
  CHECK_FALSE(row_of(SoftLoss::kd).reads_labels);
}

TEST_CASE("objective: the binary trap is named for the losses that fall into it, at two classes alone") {
  for (const SoftLossRow& row : kSoftLosses) {
    const std::string start = text("--loss ", row.word, ": with two classes ");
    const std::string trap = binary_trap(with(row.value), 2);
    const bool trapped = row.value == SoftLoss::dkd || row.value == SoftLoss::nkd || row.value == SoftLoss::dist;
    CHECK(trap.starts_with(start) == trapped);
    CHECK(trap.empty() == !trapped);
    CHECK(binary_trap(with(row.value), 3).empty());
    CHECK(binary_trap(with(row.value, true), 3).empty());
    CHECK(error_message([&] { binary_trap(with(row.value, true), 2); }).starts_with("--standardize-logits: two"));
  }
}

TEST_CASE("objective: the effective share of plain kd") {
  DistillationSettings settings{5, 0.07, Convention::additive};
  CHECK(effective_hard_share(settings) == doctest::Approx(1.75 / 2.75).epsilon(1e-14));
  settings.convention = Convention::convex;
  CHECK(effective_hard_share(settings) == doctest::Approx(0.07).epsilon(1e-14));
  settings.soft_weight = 2;
  CHECK(effective_hard_share(settings) == doctest::Approx(0.07 / (0.07 + 1.86)).epsilon(1e-14));
  CHECK(effective_hard_share({4, 0}) == 0);
}

TEST_CASE("objective: gradient norms are those of each part's own gradient") {
  const Tensor z = random_tensor({3, 4}, 1, -2, 2).to(DType::f32), v = random_tensor({3, 4}, 2, -2, 2).to(DType::f32);
  const Targets targets = labels({0, 3, 1});
  // A row's norm from the double reference, for loss = total of `settings`.
  const auto mean_norm = [&](const DistillationSettings& settings) {
    std::vector<double> dz(12), parts(3), z64(z.span<float>().begin(), z.span<float>().end()),
        v64(v.span<float>().begin(), v.span<float>().end());
    kernels_for(Device::reference, DType::f64)
        .loss.distillation({}, {3, 4}, settings, {targets.labels.data<std::int64_t>()}, z64.data(), v64.data(),
                           parts.data(), dz.data(), nullptr);
    double sum = 0;  // 3 rows, each gradient a third by the mean
    for (int row = 0; row < 3; ++row) {
      double squares = 0;
      for (int i = 0; i < 4; ++i) squares += dz[4 * row + i] * dz[4 * row + i];
      sum += std::sqrt(squares);
    }
    return sum;
  };
  for (const Convention convention : {Convention::convex, Convention::additive})
    for (const SoftLossRow& row : kSoftLosses)
      for (const bool standardize : {false, true}) {
        CAPTURE(row.word);
        DistillationSettings both = with(row.value, standardize);
        both.convention = convention;
        both.soft_weight = 2;
        const GradientNorms norms = gradient_norms(z, v, targets, both);
        DistillationSettings soft = both, hard = both;
        soft.lambda = 0;
        soft.soft_weight = convention == Convention::convex ? 1.5 : 2;  // 2 (1 - lambda), or 2
        hard.soft_weight = 0;
        CHECK(norms.hard == doctest::Approx(mean_norm(hard)).epsilon(1e-5));
        CHECK(norms.soft == doctest::Approx(mean_norm(soft)).epsilon(1e-5));
      }
  DistillationSettings unlabelled = with(SoftLoss::kd);
  unlabelled.lambda = 0;
  CHECK(gradient_norms(z, v, {}, unlabelled).hard == 0);
  CHECK(gradient_norms(z, v, {}, unlabelled).soft > 0);
}

TEST_CASE("objective: a ramp raises the soft weight in a line and then leaves it") {
  DistillationSettings settings;
  settings.soft_weight = 3;
  const ObjectiveSchedule ramp{.soft_ramp = 4};
  CHECK(settings_at(settings, {}, 5, 10).soft_weight == 3);
  CHECK(settings_at(settings, ramp, 1, 10).soft_weight == 0.75);
  CHECK(settings_at(settings, ramp, 4, 10).soft_weight == 3);
  CHECK(settings_at(settings, ramp, 9, 10).soft_weight == 3);
  // Temperature and lambda go to their ends in a straight line; what has none stays.
  settings.temperature = 8;
  settings.lambda = 0.5;
  const ObjectiveSchedule line{.temperature_end = 2, .lambda_end = 1};
  CHECK(settings_at(settings, line, 0, 10).temperature == 8);
  CHECK(settings_at(settings, line, 5, 10).temperature == 5);
  CHECK(settings_at(settings, line, 10, 10).temperature == 2);
  CHECK(settings_at(settings, line, 5, 10).lambda == 0.75);
  CHECK(settings_at(settings, line, 5, 10).soft_weight == 3);
  CHECK(settings_at(settings, ramp, 5, 10).temperature == 8);
  CHECK(!ObjectiveSchedule{}.any());
  CHECK(line.any());
}

TEST_CASE("distillation_loss: every loss has its gradient on the tape") {
  for (const SoftLossRow& row : kSoftLosses)
    for (const bool standardize : {false, true}) {
      CAPTURE(row.word);
      const Tensor z = random_tensor({3, 4}, 1, -2, 2), teacher = random_tensor({3, 4}, 2, -2, 2);
      const Function function = [&](const auto& in) {
        return distillation_loss(in[0], teacher.to(in[0].dtype()), labels({0, 3, 1}), with(row.value, standardize))
            .total;
      };
      CHECK(gradient_error(function, {z}) <= 1);
    }
}

TEST_CASE("distillation_loss: what does not go together is named") {
  const Tensor z = Tensor::zeros({2, 3});
  const auto message = [&](const Targets& targets, const DistillationSettings& settings) {
    return error_message([&] { distillation_loss(z, z, targets, settings); });
  };
  DistillationSettings settings = with(SoftLoss::dkd);
  settings.lambda = 0;
  CHECK(message({}, settings) == "[distillation_loss] labels is empty; give i64 [2]");
  Targets mixed = labels({0, 1});
  mixed.labels2 = mixed.labels;
  mixed.weight = Tensor::full({2}, 0.5);
  CHECK(message(mixed, settings) ==
        "[distillation_loss] dkd takes one label a row, and mixup gives two; take another loss");
  settings.soft_weight = -1;
  CHECK(message(labels({0, 1}), settings) == "[distillation_loss] the soft weight is -1; give one from 0");
  const Tensor one = Tensor::zeros({2, 1});
  CHECK(error_message([&] {
          distillation_loss(one, one, labels({0, 0}), with(SoftLoss::kd, true));
        }) == "[distillation_loss] standardised logits need two classes or more; there is 1");
}
