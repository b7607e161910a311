#include "engine/ops/loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/ops/elementwise.h"
#include "tests/error_message.h"
#include "tests/gradcheck.h"

using namespace retort;
using namespace retort::test;

namespace {

Tensor labels(std::int64_t rows, std::int64_t classes, std::uint64_t seed) {
  Tensor tensor = Tensor::empty({rows}, DType::i64);
  Random random(seed);
  for (std::int64_t& label : tensor.span<std::int64_t>())
    label = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(classes)));
  return tensor;
}

/// Plain, smoothed, mixed, and both.
std::vector<Targets> all_targets(std::int64_t rows, std::int64_t classes) {
  Tensor weight = Tensor::empty({rows});
  fill_uniform(weight, 0, 1, Random(4));
  Targets plain;
  plain.labels = labels(rows, classes, 2);
  Targets smoothed = plain;
  smoothed.smoothing = 0.1;
  Targets mixed = plain;
  mixed.labels2 = labels(rows, classes, 3);
  mixed.weight = weight;
  Targets both = mixed;
  both.smoothing = 0.2;
  return {plain, smoothed, mixed, both};
}

Targets plain_targets(std::vector<std::int64_t> values) {
  Targets targets;
  targets.labels = Tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())}, values);
  return targets;
}

}  // namespace

TEST_CASE("cross_entropy: gradient, with smoothing and mixup") {
  for (const std::int64_t classes : {2, 5})
    for (const Targets& targets : all_targets(4, classes)) {
      const Tensor z = random_tensor({4, classes}, 1, -3, 3);
      const Function function = [&targets](const auto& in) { return cross_entropy(in[0], targets); };
      CHECK(gradient_error(function, {z}) <= 1);
      CHECK(f32_error(function, {z}, 60) <= 1);
    }
}

TEST_CASE("distillation_loss: gradient in both conventions, at several T, lambda and class counts, all targets") {
  for (const Convention convention : {Convention::convex, Convention::additive})
    for (const double temperature : {0.5, 1.0, 4.0, 20.0})
      for (const double lambda : {0.0, 0.3, 1.0})
        for (const std::int64_t classes : {2, 5})
          for (const Targets& targets : all_targets(3, classes)) {
            CAPTURE(temperature);
            CAPTURE(lambda);
            const DistillationSettings settings{temperature, lambda, convention};
            const Tensor teacher = random_tensor({3, classes}, 7, -4, 4), z = random_tensor({3, classes}, 1, -3, 3);
            const Function function = [&](const auto& in) {
              return distillation_loss(in[0], teacher.to(in[0].dtype()), targets, settings).total;
            };
            CHECK(gradient_error(function, {z}) <= 1);
            // T^2 and 1 / T multiply the roundings of exp and log.
            CHECK(f32_error(function, {z}, 60 * std::max(temperature, 1 / temperature)) <= 1);
          }
}

TEST_CASE("cross_entropy: the mean of -log softmax at the label") {
  const std::vector<double> z{std::log(1.0), std::log(3.0), std::log(6.0), std::log(2.0)};
  const Tensor loss = cross_entropy(Tensor::from<double>({2, 2}, z), plain_targets({1, 0}));
  CHECK(loss.shape() == Shape{1});
  CHECK(loss.item() == doctest::Approx(-(std::log(0.75) + std::log(0.75)) / 2).epsilon(1e-15));
}

TEST_CASE("distillation_loss: parts, and how they add up") {
  const std::vector<double> z{0.5, -1, 2, 0}, v{1, 3, -2, 0.5};
  const Tensor student = Tensor::from<double>({2, 2}, z), teacher = Tensor::from<double>({2, 2}, v);
  const double temperature = 3, lambda = 0.2;
  double hard = 0, kl = 0, ce = 0;
  const int label[] = {1, 0};
  for (int row = 0; row < 2; ++row) {
    const auto probability = [&](const std::vector<double>& logits, double t, int i) {
      const double a = std::exp(logits[2 * row] / t), b = std::exp(logits[2 * row + 1] / t);
      return (i == 0 ? a : b) / (a + b);
    };
    hard -= std::log(probability(z, 1, label[row])) / 2;
    for (int i = 0; i < 2; ++i) {
      const double p = probability(v, temperature, i), q = probability(z, temperature, i);
      kl += p * std::log(p / q) / 2;
      ce -= p * std::log(q) / 2;
    }
  }
  const DistillationLoss convex = distillation_loss(student, teacher, plain_targets({1, 0}), {temperature, lambda});
  CHECK(convex.parts.shape() == Shape{3});
  CHECK(convex.total.item() == convex.parts.data<double>()[0]);
  CHECK(convex.parts.data<double>()[1] == doctest::Approx(hard).epsilon(1e-13));
  CHECK(convex.parts.data<double>()[2] == doctest::Approx(9 * kl).epsilon(1e-13));
  CHECK(convex.total.item() == doctest::Approx(0.2 * hard + 0.8 * 9 * kl).epsilon(1e-13));
  const DistillationLoss additive =
      distillation_loss(student, teacher, plain_targets({1, 0}), {temperature, lambda, Convention::additive});
  CHECK(additive.parts.data<double>()[2] == doctest::Approx(ce).epsilon(1e-13));
  CHECK(additive.total.item() == doctest::Approx(0.2 * hard + ce).epsilon(1e-13));
}

TEST_CASE("distillation_loss: lambda = 0 needs no labels; a student equal to its teacher has no soft loss") {
  const Tensor z = random_tensor({3, 4}, 1);
  const DistillationLoss loss = distillation_loss(z, z, {}, {5, 0});
  CHECK(std::abs(loss.total.item()) <= 25 * 8 * epsilon64);
  CHECK(loss.parts.data<double>()[1] == 0);
}

TEST_CASE("the losses pass on what backward gives them, and none to the teacher") {
  const Tensor z = random_tensor({3, 4}, 1), teacher = random_tensor({3, 4}, 2).require_grad();
  const Function function = [&](const auto& in) {
    const Tensor hard = cross_entropy(in[0], plain_targets({0, 1, 2}));
    const Tensor soft = distillation_loss(in[0], teacher, plain_targets({0, 1, 2}), {4, 0.5}).total;
    return add(scale(hard, 0.3), scale(soft, -2));
  };
  CHECK(gradient_error(function, {z}) <= 1);
  CHECK_FALSE(teacher.grad());
}

TEST_CASE("losses: what does not fit is named") {
  const Tensor z = Tensor::zeros({2, 3});
  const auto hard = [&z](const Targets& targets) { return error_message([&] { cross_entropy(z, targets); }); };
  CHECK(hard({}) == "[cross_entropy] labels is empty; give i64 [2]");
  CHECK(hard(plain_targets({1})) == "[cross_entropy] labels is i64 [1]; give i64 [2]");
  CHECK(hard(plain_targets({1, 3})) == "[cross_entropy] labels[1] is 3; give one in [0, 3)");
  CHECK(hard(plain_targets({-1, 0})) == "[cross_entropy] labels[0] is -1; give one in [0, 3)");
  Targets targets = plain_targets({1, 2});
  targets.smoothing = 1;
  CHECK(hard(targets) == "[cross_entropy] label smoothing is 1; give at least 0 and below 1");
  targets.smoothing = std::nan("");
  CHECK(hard(targets) == "[cross_entropy] label smoothing is nan; give at least 0 and below 1");
  targets.smoothing = 0;
  targets.weight = Tensor::full({2}, 0.5);
  CHECK(hard(targets) == "[cross_entropy] labels2 is empty; give i64 [2]");
  targets.labels2 = plain_targets({0, 5}).labels;
  CHECK(hard(targets) == "[cross_entropy] labels2[1] is 5; give one in [0, 3)");
  targets.labels2 = targets.labels;
  targets.weight = {};
  CHECK(hard(targets) == "[cross_entropy] the mixup weight is empty; give f32 [2]");
  targets.weight = Tensor::full({2}, 1.5);
  CHECK(hard(targets) == "[cross_entropy] a mixup weight is 1.5; give one in [0, 1]");
  CHECK(error_message([] { cross_entropy(Tensor::zeros({3}), {}); }) ==
        "[cross_entropy] the input is f32 [3]; give f32, f64 or bf16 [n, classes]");
  CHECK(error_message([] {
          cross_entropy(Tensor::zeros({0, 3}), {});
        }) == "[cross_entropy] the logits are [0, 3]; give at least one row and one class");

  const auto soft = [&z](const Tensor& teacher, const DistillationSettings& settings) {
    return error_message([&] { distillation_loss(z, teacher, plain_targets({0, 1}), settings); });
  };
  CHECK(soft(Tensor::zeros({2, 4}), {}) == "[distillation_loss] the teacher's logits is f32 [2, 4]; give f32 [2, 3]");
  CHECK(soft(z, {0, 0.5}) == "[distillation_loss] the temperature is 0; give one above 0");
  CHECK(soft(z, {std::nan(""), 0.5}) == "[distillation_loss] the temperature is nan; give one above 0");
  CHECK(soft(z, {1, 1.5}) == "[distillation_loss] lambda is 1.5; give one in [0, 1]");
  CHECK(soft(z, {1, -0.1}) == "[distillation_loss] lambda is -0.1; give one in [0, 1]");
  CHECK(error_message([&] {
          distillation_loss(z, z, {}, {1, 0.5});
        }) == "[distillation_loss] labels is empty; give i64 [2]");
  CHECK(error_message([&] {
          distillation_loss(z, z, plain_targets({0, 3}), {1, 0.5});
        }) == "[distillation_loss] labels[1] is 3; give one in [0, 3)");
}
