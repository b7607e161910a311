#include "tests/cases/loss.h"

#include "tests/kernels/backends.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon64;

constexpr Convention kConventions[] = {Convention::convex, Convention::additive};

const LossKernels& oracle() { return kernels_for(Device::reference, DType::f64).loss; }

}  // namespace

TEST_CASE("cpu loss") { test::run_cases(test::kLossCases, test::cpu_backends()); }

TEST_CASE("cpu loss: with few classes even small losses and gradients are rounded but once") {
  const test::Backend cpu = test::cpu_backends()[0];
  // Nets that are sure of the first class, and nearly agree: losses and gradients are differences of numbers near 1.
  for (const std::int64_t classes : {2, 10, 32}) {
    test::Logits batch = test::logits<float>({3, classes}, 0.1);
    for (std::int64_t row = 0; row < 3; ++row) {
      batch.labels[row] = 0;
      batch.z[row * classes] = 9;
      batch.v[row * classes] = 9.01f;
    }
    const test::Losses<double> reference = test::oracle_losses(batch);
    const test::Losses<float> losses(cpu, cpu.f32->loss, batch);
    for (const double lambda : {0.0, 0.5, 1.0})
      for (const Convention convention : kConventions) {
        const DistillationSettings settings{1.5, lambda, convention};
        // 1e-14: what doubles near 1 lose.
        test::check_losses<float>(cpu, losses.distillation(settings, losses.targets({})),
                                  reference.distillation(settings, reference.targets({})), {1e-14, 1e-14, 1e-14},
                                  [](std::size_t) { return 1e-14; });
      }
  }
}

TEST_CASE("cpu loss: those of bf16 are those of the same logits in f32, their gradient rounded") {
  const test::Backend cpu = test::cpu_backends()[0];
  const test::Logits batch = test::logits<BFloat16>({7, 10}, 8);
  const test::Losses<BFloat16> narrow(cpu, cpu.bf16->loss, batch);
  const test::Losses<float> wide(cpu, cpu.f32->loss, batch);
  const test::Hard hard{.smoothing = 0.1};
  const auto check = [](const test::LossResult& found, const test::LossResult& expected) {
    CHECK(found.loss == expected.loss);
    CHECK(found.dz == test::rounded<BFloat16>(expected.dz));
  };
  for (const SoftLoss loss : {SoftLoss::kd, SoftLoss::dist}) {
    const DistillationSettings settings{.temperature = 4, .lambda = 0.3, .loss = loss};
    check(narrow.distillation(settings, narrow.targets(hard)), wide.distillation(settings, wide.targets(hard)));
    CHECK(narrow.distillation(settings, narrow.targets(hard), false).loss ==
          wide.distillation(settings, wide.targets(hard)).loss);
  }
  check(narrow.cross_entropy(narrow.targets(hard)), wide.cross_entropy(wide.targets(hard)));
}

TEST_CASE("reference loss: formulas written out on three classes") {
  // softmax(z) = (1, 2, 5) / 8 and softmax(v) = (4, 3, 1) / 8 at T = 1.
  const Rows rows = {1, 3};
  const std::vector<double> z = {std::log(1.0), std::log(2.0), std::log(5.0)};
  const std::vector<double> v = {std::log(4.0), std::log(3.0), std::log(1.0)};
  const std::int64_t label = 1, label2 = 2;
  const float weight = 0.75f;
  std::vector<double> loss = blank<double>(3), dz = blank<double>(3);
  const auto close = [](double found, double expected) { return std::fabs(found - expected) <= 16 * epsilon64; };

  oracle().cross_entropy({}, rows, {&label}, z.data(), loss.data(), dz.data(), nullptr);
  CHECK(close(loss[0], std::log(4.0)));
  CHECK(close(dz[0], 0.125));
  CHECK(close(dz[1], 0.25 - 1));
  // t = 0.9 (0, 0.75, 0.25) + 0.1 / 3
  oracle().cross_entropy({}, rows, {&label, &label2, &weight, 0.1}, z.data(), loss.data(), dz.data(), nullptr);
  const double t0 = 0.1 / 3, t1 = 0.675 + t0, t2 = 0.225 + t0;
  CHECK(close(loss[0], t0 * std::log(8.0) + t1 * std::log(4.0) + t2 * std::log(1.6)));
  CHECK(close(dz[2], 0.625 - t2));

  const double cross = 0.5 * std::log(8.0) + 0.375 * std::log(4.0) + 0.125 * std::log(1.6);
  const double entropy = 0.5 * std::log(2.0) + 0.375 * std::log(8.0 / 3) + 0.125 * std::log(8.0);
  oracle().distillation({}, rows, {1, 0.25, Convention::convex}, {&label}, z.data(), v.data(), loss.data(), dz.data(),
                        nullptr);
  CHECK(close(loss[1], std::log(4.0)));
  CHECK(close(loss[2], cross - entropy));
  CHECK(close(loss[0], 0.25 * std::log(4.0) + 0.75 * (cross - entropy)));
  CHECK(close(dz[1], 0.25 * (0.25 - 1) + 0.75 * (0.25 - 0.375)));
  oracle().distillation({}, rows, {1, 0.25, Convention::additive}, {&label}, z.data(), v.data(), loss.data(), dz.data(),
                        nullptr);
  CHECK(close(loss[2], cross));
  CHECK(close(loss[0], 0.25 * std::log(4.0) + cross));
  CHECK(close(dz[1], 0.25 * (0.25 - 1) + (0.25 - 0.375)));

  // T = 1/2 squares the weights: q = (1, 4, 25) / 30, p = (16, 9, 1) / 26.
  const double p0 = 16 / 26.0, p1 = 9 / 26.0, p2 = 1 / 26.0, q0 = 1 / 30.0, q1 = 4 / 30.0, q2 = 25 / 30.0;
  oracle().distillation({}, rows, {0.5, 0, Convention::convex}, {}, z.data(), v.data(), loss.data(), dz.data(),
                        nullptr);
  CHECK(close(loss[0], 0.25 * (p0 * std::log(p0 / q0) + p1 * std::log(p1 / q1) + p2 * std::log(p2 / q2))));
  CHECK(close(dz[0], 0.5 * (q0 - p0)));
  oracle().distillation({}, rows, {0.5, 0, Convention::additive}, {}, z.data(), v.data(), loss.data(), dz.data(),
                        nullptr);
  CHECK(close(dz[0], 2 * (q0 - p0)));
}

TEST_CASE("reference loss: the gradient is the loss's, by finite differences") {
  const test::Logits batch = test::logits<double>({3, 5}, 3);
  std::vector<double> z = batch.z;
  const std::vector<double>& v = batch.v;
  for (const Convention convention : kConventions)
    for (const double temperature : {0.5, 1.0, 6.0})
      for (const double lambda : {0.0, 0.3, 1.0}) {
        const DistillationSettings settings = {temperature, lambda, convention};
        const HardTargets targets = {batch.labels.data(), batch.labels2.data(), batch.weight.data(), 0.1};
        std::vector<double> loss = blank<double>(3), dz = blank<double>(15);
        oracle().distillation({}, batch.rows, settings, targets, z.data(), v.data(), loss.data(), dz.data(), nullptr);
        for (std::size_t i = 0; i < z.size(); ++i) {
          const double slope = test::finite_difference(z, i, 1e-4, [&] {
            oracle().distillation({}, batch.rows, settings, targets, z.data(), v.data(), loss.data(), nullptr, nullptr);
            return loss[0];
          });
          CHECK(std::fabs(dz[i] - slope) <= test::difference_tolerance(1e-4, 100));
        }
      }
}

}  // namespace retort
