#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon64;
using test::uniform;
using test::worst;

const LossKernels& cpu() { return kernels_for(Device::cpu, DType::f32).loss; }
const LossKernels& oracle() { return kernels_for(Device::reference, DType::f64).loss; }

constexpr Convention kConventions[] = {Convention::convex, Convention::additive};

/// Logits and every kind of hard target for one batch.
struct Batch {
  Rows rows;
  std::vector<float> z, v, weight;
  std::vector<std::int64_t> labels, labels2;

  Batch(Rows r, double range) : rows(r) {
    z = uniform(r.rows * r.classes, 1, -range, range);
    v = uniform(r.rows * r.classes, 2, -range, range);
    weight = uniform(r.rows, 3, 0, 1);
    labels = test::integers<std::int64_t>(r.rows, 4, 0, static_cast<int>(r.classes) - 1);
    labels2 = test::integers<std::int64_t>(r.rows, 5, 0, static_cast<int>(r.classes) - 1);
  }
  HardTargets targets(bool mixup, double smoothing) const {
    return {labels.data(), mixup ? labels2.data() : nullptr, mixup ? weight.data() : nullptr, smoothing};
  }
};

/// Workspace of a table's losses for the present threads.
std::vector<char> workspace_of(const LossKernels& kernels, Rows rows) {
  return std::vector<char>(kernels.workspace_bytes(rows));
}

/// How far off the CPU's losses and gradients may be, beside one rounding of the result.
struct Bounds {
  double loss, gradient;
};

Bounds bounds(const Batch& batch, double range, const DistillationSettings& settings) {
  const double lost = test::exponential_sum_noise(batch.rows.classes), t = settings.temperature;
  const bool convex = settings.convention == Convention::convex;
  const double soft = weight_of_soft(settings);
  // Sums of exponentials under logarithms; p times differences of logits of up to 2 range. T^2 multiplies them.
  const double loss = 2 * lost + (convex ? t * t : 1) * lost * (2 + 4 * range / t);
  // softmax(z) - t; q - p, each within `lost`.
  const double gradient = settings.lambda * (lost + test::epsilon32) + soft * (convex ? t : 1 / t) * 2 * lost;
  return {loss, gradient / static_cast<double>(batch.rows.rows)};
}

struct DistillationCase {
  DistillationSettings settings;
  HardTargets targets;
};

/// Under every CPU setting; the oracle runs once.
void check_distillation(const Batch& batch, double range, const std::vector<DistillationCase>& cases) {
  const std::vector<double> z64 = test::widen(batch.z), v64 = test::widen(batch.v);
  const std::int64_t n = batch.rows.rows * batch.rows.classes;
  std::vector<std::vector<double>> losses(cases.size(), blank<double>(3)), gradients(cases.size(), blank<double>(n));
  for (std::size_t i = 0; i < cases.size(); ++i)
    oracle().distillation({}, batch.rows, cases[i].settings, cases[i].targets, z64.data(), v64.data(), losses[i].data(),
                          gradients[i].data(), nullptr);
  test::for_each_cpu_setting([&] {
    for (std::size_t k = 0; k < cases.size(); ++k) {
      const DistillationSettings& settings = cases[k].settings;
      const HardTargets& targets = cases[k].targets;
      CAPTURE(batch.rows.classes);
      CAPTURE(range);
      CAPTURE(settings.temperature);
      CAPTURE(settings.lambda);
      CAPTURE((settings.convention == Convention::convex));
      CAPTURE(targets.smoothing);
      std::vector<float> loss = blank<float>(3), dz = blank<float>(n), loss_alone = blank<float>(3);
      std::vector<char> workspace = workspace_of(cpu(), batch.rows);
      cpu().distillation({}, batch.rows, settings, targets, batch.z.data(), batch.v.data(), loss.data(), dz.data(),
                         workspace.data());
      cpu().distillation({}, batch.rows, settings, targets, batch.z.data(), batch.v.data(), loss_alone.data(), nullptr,
                         workspace.data());
      const Bounds lost = bounds(batch, range, settings);
      CHECK(worst(loss, losses[k], [&](std::size_t i) { return test::rounding_tolerance(losses[k][i], lost.loss); }) <=
            1);
      CHECK(worst(dz, gradients[k],
                  [&](std::size_t i) { return test::rounding_tolerance(gradients[k][i], lost.gradient); }) <= 1);
      CHECK(loss_alone == loss);
    }
  });
}

}  // namespace

TEST_CASE("cpu loss: distillation equals the oracle over temperatures, weights, classes, ranges and conventions") {
  for (const auto& [rows, range] : {std::pair{Rows{1, 2}, 100.0},
                                    {Rows{3, 2}, 1e-3},
                                    {Rows{2, 3}, 10.0},
                                    {Rows{5, 10}, 100.0},
                                    {Rows{67, 17}, 1.0},
                                    {Rows{67, 37}, 1.0},
                                    {Rows{3, 1000}, 100.0}}) {
    const Batch batch(rows, range);
    std::vector<DistillationCase> cases;
    for (const double temperature : {0.5, 4.0, 20.0})
      for (const double lambda : {0.0, 0.07, 1.0})
        for (const Convention convention : kConventions)
          for (const bool mixed : {false, true})
            cases.push_back({{temperature, lambda, convention}, batch.targets(mixed, mixed ? 0.1 : 0)});
    check_distillation(batch, range, cases);
  }
}

TEST_CASE("cpu loss: cross-entropy equals the oracle with mixup and smoothing") {
  for (const Rows rows : {Rows{1, 1}, Rows{1, 2}, Rows{7, 10}, Rows{130, 9}, Rows{4, 1000}}) {
    const Batch batch(rows, 100);
    const std::vector<double> z64 = test::widen(batch.z);
    const std::int64_t n = rows.rows * rows.classes;
    test::for_each_cpu_setting([&] {
      for (const bool mixup : {false, true})
        for (const double smoothing : {0.0, 0.1}) {
          CAPTURE(rows.classes);
          CAPTURE(mixup);
          CAPTURE(smoothing);
          const HardTargets targets = batch.targets(mixup, smoothing);
          std::vector<float> loss = blank<float>(1), dz = blank<float>(n), loss_alone = loss;
          std::vector<double> loss64 = blank<double>(1), dz64 = blank<double>(n);
          std::vector<char> workspace = workspace_of(cpu(), rows);
          cpu().cross_entropy({}, rows, targets, batch.z.data(), loss.data(), dz.data(), workspace.data());
          cpu().cross_entropy({}, rows, targets, batch.z.data(), loss_alone.data(), nullptr, workspace.data());
          oracle().cross_entropy({}, rows, targets, z64.data(), loss64.data(), dz64.data(), nullptr);
          const Bounds lost = bounds(batch, 100, {.lambda = 1});
          CHECK(worst(loss, loss64, [&](std::size_t i) { return test::rounding_tolerance(loss64[i], lost.loss); }) <=
                1);
          CHECK(worst(dz, dz64, [&](std::size_t i) { return test::rounding_tolerance(dz64[i], lost.gradient); }) <= 1);
          CHECK(loss_alone == loss);
        }
    });
  }
}

TEST_CASE("cpu loss: a student that equals its teacher has soft loss 0 and gradient 0; one close by keeps digits") {
  const Rows rows = {2, 50};
  const DistillationSettings settings{4, 0, Convention::convex};
  Batch same(rows, 30), close(rows, 30);
  same.v = same.z;
  for (std::size_t i = 0; i < close.v.size(); ++i) close.v[i] = close.z[i] + (i % 2 ? 1e-3f : -1e-3f);
  const std::vector<double> z64 = test::widen(close.z), v64 = test::widen(close.v);
  std::vector<double> loss64 = blank<double>(3), dz64 = blank<double>(100);
  oracle().distillation({}, rows, settings, {}, z64.data(), v64.data(), loss64.data(), dz64.data(), nullptr);
  double largest = 0;
  for (const double value : dz64) largest = std::max(largest, std::fabs(value));
  test::for_each_cpu_setting([&] {
    std::vector<char> workspace = workspace_of(cpu(), rows);
    std::vector<float> loss = blank<float>(3), dz = blank<float>(100);
    cpu().distillation({}, rows, settings, {}, same.z.data(), same.v.data(), loss.data(), dz.data(), workspace.data());
    CHECK(loss == std::vector<float>(3, 0));
    CHECK(dz == std::vector<float>(100, 0));
    cpu().distillation({}, rows, settings, {}, close.z.data(), close.v.data(), loss.data(), dz.data(),
                       workspace.data());
    // q - p is some 1e-3 / T of q, and q is off by a few units.
    CHECK(worst(dz, dz64, [&](std::size_t) { return 5e-3 * largest; }) <= 1);
  });
}

TEST_CASE("cpu loss: with few classes even small losses and gradients are rounded but once") {
  // Nets that are sure of the first class, and nearly agree: losses and gradients are differences of numbers near 1.
  for (const std::int64_t classes : {2, 10, 32}) {
    const Rows rows = {3, classes};
    Batch batch(rows, 0.1);
    for (std::int64_t row = 0; row < rows.rows; ++row) {
      batch.labels[row] = 0;
      batch.z[row * classes] = 9;
      batch.v[row * classes] = 9.01f;
    }
    const std::vector<double> z64 = test::widen(batch.z), v64 = test::widen(batch.v);
    for (const double lambda : {0.0, 0.5, 1.0})
      for (const Convention convention : kConventions) {
        const DistillationSettings settings{1.5, lambda, convention};
        const std::size_t n = batch.z.size();
        std::vector<double> loss64 = blank<double>(3), dz64 = blank<double>(n);
        oracle().distillation({}, rows, settings, batch.targets(false, 0), z64.data(), v64.data(), loss64.data(),
                              dz64.data(), nullptr);
        std::vector<float> loss = blank<float>(3), dz = blank<float>(n);
        std::vector<char> workspace = workspace_of(cpu(), rows);
        cpu().distillation({}, rows, settings, batch.targets(false, 0), batch.z.data(), batch.v.data(), loss.data(),
                           dz.data(), workspace.data());
        // 1e-14: what doubles near 1 lose.
        CHECK(worst(loss, loss64, [&](std::size_t i) { return test::rounding_tolerance(loss64[i], 1e-14); }) <= 1);
        CHECK(worst(dz, dz64, [&](std::size_t i) { return test::rounding_tolerance(dz64[i], 1e-14); }) <= 1);
      }
  }
}

TEST_CASE("loss: lambda 0 reads no labels, and a soft weight of 0 no teacher") {
  const Batch batch({3, 19}, 5);
  test::for_each_cpu_setting([&] {
    for (const Device device : {Device::cpu, Device::reference}) {
      const LossKernels& kernels = kernels_for(device, DType::f32).loss;
      std::vector<char> workspace = workspace_of(kernels, batch.rows);
      std::vector<float> loss = blank<float>(3), dz = blank<float>(57);
      for (const Convention convention : kConventions) {
        kernels.distillation({}, batch.rows, {2, 0, convention}, {}, batch.z.data(), batch.v.data(), loss.data(),
                             dz.data(), workspace.data());
        CHECK(loss[0] == loss[2]);
        CHECK(loss[1] == 0);
        CHECK(loss[2] > 0);
      }
      kernels.distillation({}, batch.rows, {2, 1, Convention::convex}, batch.targets(false, 0), batch.z.data(), nullptr,
                           loss.data(), dz.data(), workspace.data());
      CHECK(loss[0] == loss[1]);
      CHECK(loss[2] == 0);
      std::vector<float> hard = blank<float>(1), hard_dz = blank<float>(57);
      kernels.cross_entropy({}, batch.rows, batch.targets(false, 0), batch.z.data(), hard.data(), hard_dz.data(),
                            workspace.data());
      CHECK(hard[0] == loss[0]);
      CHECK(hard_dz == dz);
    }
  });
}

TEST_CASE("cpu loss: the same bits whatever the threads") {
  const Batch batch({301, 37}, 10);
  std::vector<float> first, first_dz;
  test::for_each_cpu_setting([&] {
    std::vector<char> workspace = workspace_of(cpu(), batch.rows);
    std::vector<float> loss = blank<float>(3), dz = blank<float>(301 * 37);
    cpu().distillation({}, batch.rows, {3, 0.1, Convention::convex}, batch.targets(true, 0.1), batch.z.data(),
                       batch.v.data(), loss.data(), dz.data(), workspace.data());
    if (num_threads() == 1) first = loss, first_dz = dz;
    CHECK(loss == first);
    CHECK(dz == first_dz);
  });
}

TEST_CASE("loss: NaN in either net's logits makes the loss NaN, so that training can stop") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  test::for_each_cpu_setting([&] {
    for (const Device device : {Device::cpu, Device::reference})
      for (const Convention convention : kConventions)
        for (const std::size_t at : {0u, 7u, 20u, 41u}) {
          const LossKernels& kernels = kernels_for(device, DType::f32).loss;
          for (const bool student : {true, false}) {
            Batch batch({2, 21}, 5);
            (student ? batch.z : batch.v)[at] = nan;
            std::vector<char> workspace = workspace_of(kernels, batch.rows);
            std::vector<float> loss(3, 0), dz(42, 0);
            kernels.distillation({}, batch.rows, {2, 0.5, convention}, batch.targets(false, 0), batch.z.data(),
                                 batch.v.data(), loss.data(), dz.data(), workspace.data());
            CHECK(std::isnan(loss[0]));
            CHECK(std::isnan(dz[at]));
          }
        }
  });
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
  const Batch batch({3, 5}, 3);
  std::vector<double> z = test::widen(batch.z);
  const std::vector<double> v = test::widen(batch.v);
  for (const Convention convention : kConventions)
    for (const double temperature : {0.5, 1.0, 6.0})
      for (const double lambda : {0.0, 0.3, 1.0}) {
        const DistillationSettings settings = {temperature, lambda, convention};
        const HardTargets targets = batch.targets(true, 0.1);
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
