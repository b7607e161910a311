// The soft terms beside plain KD's: closed forms of the CPU against the oracle, and the oracle against finite
// differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "kernels/table.h"
#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"
#include "tests/tolerance.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon64;

const LossKernels& cpu() { return kernels_for(Device::cpu, DType::f32).loss; }
const LossKernels& oracle() { return kernels_for(Device::reference, DType::f64).loss; }

constexpr SoftLoss kAll[] = {SoftLoss::kd,   SoftLoss::mse, SoftLoss::dkd, SoftLoss::nkd,
                             SoftLoss::dist, SoftLoss::ttm, SoftLoss::wttm};

struct Batch {
  Rows rows;
  std::vector<float> z, v;
  std::vector<std::int64_t> labels;
  Batch(Rows r, double range) : rows(r) {
    z = test::uniform(r.rows * r.classes, 1, -range, range);
    v = test::uniform(r.rows * r.classes, 2, -range, range);
    labels = test::integers<std::int64_t>(r.rows, 4, 0, static_cast<int>(r.classes) - 1);
  }
  std::int64_t count() const { return rows.rows * rows.classes; }
};

struct Result {
  std::vector<double> loss = blank<double>(3), dz;
};

Result run_oracle(const Batch& batch, const DistillationSettings& settings) {
  Result result;
  result.dz = blank<double>(batch.count());
  const std::vector<double> z = test::widen(batch.z), v = test::widen(batch.v);
  oracle().distillation({}, batch.rows, settings, {batch.labels.data()}, z.data(), v.data(), result.loss.data(),
                        result.dz.data(), nullptr);
  return result;
}

struct CpuResult {
  std::vector<float> loss = blank<float>(3), dz;
};

CpuResult run_cpu(const Batch& batch, const DistillationSettings& settings, bool gradient = true) {
  CpuResult result;
  result.dz = blank<float>(batch.count());
  std::vector<double> workspace = blank<double>(static_cast<std::int64_t>(cpu().workspace_bytes(batch.rows) / 8));
  cpu().distillation({}, batch.rows, settings, {batch.labels.data()}, batch.z.data(), batch.v.data(),
                     result.loss.data(), gradient ? result.dz.data() : nullptr, workspace.data());
  return result;
}

/// The loss of one row of logits, without labels' part.
double soft(SoftLoss loss, double temperature, std::vector<double> z, std::vector<double> v, std::int64_t label) {
  std::vector<double> parts = blank<double>(3);
  oracle().distillation({}, {1, static_cast<std::int64_t>(z.size())}, {temperature, 0, Convention::convex, loss},
                        {&label}, z.data(), v.data(), parts.data(), nullptr, nullptr);
  return parts[2];
}

}  // namespace

TEST_CASE("reference soft losses: formulas written out on three classes") {
  // softmax(z) = (1, 2, 5) / 8 and softmax(v) = (4, 3, 1) / 8 at T = 1; the label is class 1.
  const std::vector<double> z = {std::log(1.0), std::log(2.0), std::log(5.0)};
  const std::vector<double> v = {std::log(4.0), std::log(3.0), std::log(1.0)};
  const auto close = [](double found, double expected) { return std::fabs(found - expected) <= 64 * epsilon64; };
  const auto square = [](double x) { return x * x; };
  const auto log = [](double x) { return std::log(x); };
  CHECK(close(soft(SoftLoss::mse, 9, z, v, 1), (square(log(4)) + square(log(1.5)) + square(log(5))) / 6));
  const double kl = 0.5 * log(4) + 0.375 * log(1.5) + 0.125 * log(0.2);
  CHECK(close(soft(SoftLoss::ttm, 1, z, v, 1), kl));
  CHECK(close(soft(SoftLoss::wttm, 1, z, v, 1), kl));
  // T = 1/2 squares the teacher's weights: p = (16, 9, 1) / 26, and U = sum of squares = 26 / 64.
  const double sharp = 16 / 26.0 * log(128 / 26.0) + 9 / 26.0 * log(36 / 26.0) + 1 / 26.0 * log(8 / 130.0);
  CHECK(close(soft(SoftLoss::ttm, 0.5, z, v, 1), sharp));
  CHECK(close(soft(SoftLoss::wttm, 0.5, z, v, 1), 26 / 64.0 * sharp));
  // b_v = (3, 5) / 8, b_z = (2, 6) / 8; p^ = (4, 1) / 5, q^ = (1, 5) / 6.
  const double target = 0.375 * log(1.5) + 0.625 * log(5 / 6.0), others = 0.8 * log(4.8) + 0.2 * log(0.24);
  CHECK(close(soft(SoftLoss::dkd, 1, z, v, 1), target + 8 * others));
  CHECK(close(soft(SoftLoss::nkd, 1, z, v, 1), 0.375 * log(4) + 1.5 * (0.8 * log(6) + 0.2 * log(1.2))));
  // One row: its columns are constant and correlate with nothing. Sums of products over 64, less the mean 8 / 3 twice.
  const double aa = (26 - 64 / 3.0) / 64 + 1e-8, bb = (30 - 64 / 3.0) / 64 + 1e-8, ab = (15 - 64 / 3.0) / 64;
  CHECK(close(soft(SoftLoss::dist, 1, z, v, 1), 1 - ab / std::sqrt(aa * bb) + 1));
}

TEST_CASE("reference soft losses: standardised logits do not depend on a row's shift and scale") {
  Batch batch({4, 7}, 3), moved = batch;
  for (std::size_t i = 0; i < moved.z.size(); ++i) {
    moved.z[i] = 4 * batch.z[i] + 2;
    moved.v[i] = 8 * batch.v[i] - 1;
  }
  for (const SoftLoss loss : kAll) {
    const DistillationSettings settings{2, 0, Convention::convex, loss, true};
    const double first = run_oracle(batch, settings).loss[2], second = run_oracle(moved, settings).loss[2];
    // The floor of 1e-7 weighs less on a wider row, and the moved logits are rounded to float.
    CHECK(std::fabs(first - second) <= 1e-5 * (1 + std::fabs(first)));
  }
}

TEST_CASE("reference soft losses: the gradient is the loss's, by finite differences") {
  const Batch batch({3, 5}, 3);
  std::vector<double> z = test::widen(batch.z);
  const std::vector<double> v = test::widen(batch.v);
  for (const SoftLoss loss : kAll)
    for (const bool standardize : {false, true})
      for (const Convention convention : {Convention::convex, Convention::additive})
        for (const double temperature : {1.0, 4.0}) {
          const DistillationSettings settings{temperature, 0.3, convention, loss, standardize, 0.7};
          CAPTURE(static_cast<int>(loss));
          CAPTURE(standardize);
          CAPTURE(temperature);
          std::vector<double> parts = blank<double>(3), dz = blank<double>(15);
          const auto evaluate = [&](double* gradient) {
            oracle().distillation({}, batch.rows, settings, {batch.labels.data()}, z.data(), v.data(), parts.data(),
                                  gradient, nullptr);
            return parts[0];
          };
          const double value = evaluate(dz.data());
          CHECK(std::fabs(value - (0.3 * parts[1] + weight_of_soft(settings) * parts[2])) <= 64 * epsilon64 * value);
          for (std::size_t i = 0; i < z.size(); ++i) {
            const double slope = test::finite_difference(z, i, 1e-4, [&] { return evaluate(nullptr); });
            CHECK(std::fabs(dz[i] - slope) <= test::difference_tolerance(1e-4, 100 * temperature * temperature));
          }
        }
}

namespace {

/// How far off the CPU's soft term and its gradient may be, unweighted. `noise` is what a softmax loses relative to its
/// largest element, `spread` the largest difference of two logits that the loss sees: a logarithm of a probability errs
/// by noise * (1 + spread / T), since the exponents' factor and, standardised, the deviation are rounded too.
struct Bounds {
  double loss, gradient;
};

Bounds bounds(const DistillationSettings& settings, Rows rows, double noise, double spread) {
  const double t = settings.temperature, kl = noise * (2 + 2 * spread / t), kl_of_1 = noise * (2 + 2 * spread);
  const double unsure = std::pow(static_cast<double>(rows.classes), 1 - 1 / t);  // wttm's weight at most
  switch (settings.loss) {
    case SoftLoss::mse: return {noise * spread * spread, noise * spread / static_cast<double>(rows.classes)};
    case SoftLoss::dkd: return {(1 + kDkdOthers) * t * t * kl, (1 + kDkdOthers) * t * 2 * noise};
    case SoftLoss::nkd: return {kl_of_1 + kNkdOthers * t * t * kl, (1 + kNkdOthers * t) * 2 * noise};
    case SoftLoss::ttm: return {kl_of_1, 2 * noise};
    case SoftLoss::wttm: return {unsure * kl_of_1 * 2, unsure * 2 * 2 * noise};
    // Centring leaves a part of the probabilities, their rounding all of it: a hundredth in columns of few rows.
    case SoftLoss::dist: return {100 * noise, 100 * noise};
    default:
      return settings.convention == Convention::convex ? Bounds{t * t * kl, t * 2 * noise} : Bounds{kl, 2 / t * noise};
  }
}

/// The least standard deviation of a row.
double least_deviation(const Batch& batch) {
  double least = INFINITY;
  const std::int64_t classes = batch.rows.classes;
  for (std::int64_t at = 0; at < batch.count(); at += classes) {
    double sum = 0, square = 0;
    for (std::int64_t i = at; i < at + classes; ++i) sum += batch.z[i];
    for (std::int64_t i = at; i < at + classes; ++i)
      square += std::pow(batch.z[i] - sum / static_cast<double>(classes), 2);
    least = std::min(least, std::sqrt(square / static_cast<double>(classes - 1)));
  }
  return least;
}

}  // namespace

TEST_CASE("cpu soft losses equal the oracle; threads do not change their bits") {
  for (const auto& shape : {std::pair{Rows{2, 2}, 5.0},
                            {Rows{3, 3}, 10.0},
                            {Rows{1, 10}, 3.0},
                            {Rows{67, 17}, 4.0},
                            {Rows{4, 10}, 100.0},
                            {Rows{5, 1000}, 8.0}}) {
    const Rows rows = shape.first;
    const double range = shape.second;
    const Batch batch(rows, range);
    for (const SoftLoss loss : kAll)
      for (const bool standardize : {false, true})
        for (const double temperature : {1.0, 4.0}) {
          if (standardize && rows.classes == 2) continue;  // both rows are the same: nothing but rounding is left
          const Convention convention = temperature == 1 ? Convention::additive : Convention::convex;
          const DistillationSettings settings{temperature, 0.3, convention, loss, standardize, 1.5};
          CAPTURE(rows.classes);
          CAPTURE(static_cast<int>(loss));
          CAPTURE(standardize);
          CAPTURE(temperature);
          const Result expected = run_oracle(batch, settings);
          // Standardised, all that is left of logits lies within two deviations on either side of the mean, and the
          // gradient's way back divides by the deviation, twice over for its part along the logits.
          const double spread = standardize ? 4 : 2 * range, back = standardize ? 2 / least_deviation(batch) : 1;
          const double weight = weight_of_soft(settings);
          std::map<SimdLevel, CpuResult> first;
          test::for_each_cpu_setting([&] {
            const CpuResult found = run_cpu(batch, settings);
            const double noise = test::exponential_sum_noise(rows.classes);
            const Bounds soft = bounds(settings, rows, noise, spread);
            CHECK(test::worst(found.loss, expected.loss, [&](std::size_t i) {
                    return test::rounding_tolerance(expected.loss[i], 2 * noise + std::max(weight, 1.0) * soft.loss);
                  }) <= 1);
            CHECK(test::worst(found.dz, expected.dz, [&](std::size_t i) {
                    const double each = 0.3 * noise + test::epsilon32 + weight * back * soft.gradient;
                    return test::rounding_tolerance(expected.dz[i], each / static_cast<double>(rows.rows));
                  }) <= 1);
            CHECK(run_cpu(batch, settings, false).loss == found.loss);
            const auto [same, inserted] = first.emplace(simd_level(), found);
            CHECK(same->second.loss == found.loss);
            CHECK(same->second.dz == found.dz);
          });
        }
  }
}

TEST_CASE("soft losses: with two classes their own part of the gradient vanishes, as the warnings say") {
  const Batch batch({200, 2}, 5);
  const auto largest = [&](SoftLoss loss, bool standardize) {
    double top = 0;
    for (const double g : run_oracle(batch, {4, 0, Convention::convex, loss, standardize}).dz)
      top = std::max(top, std::fabs(g) * 200);
    return top;
  };
  CHECK(largest(SoftLoss::kd, false) > 1);
  CHECK(largest(SoftLoss::mse, false) > 1);
  CHECK(largest(SoftLoss::ttm, false) > 0.1);
  // What is left of a standardised pair is the floor's doing: its slope is floor / std^2, and T (q - p) at most T.
  double deviation = 5;
  for (std::size_t i = 0; i < batch.z.size(); i += 2)
    deviation = std::min(deviation, std::fabs(double{batch.z[i]} - batch.z[i + 1]) / std::sqrt(2.0));
  CHECK(largest(SoftLoss::kd, true) <= 4 * kStandardFloor / (deviation * deviation));
  // DKD is then kd: the term over the other classes has one class to compare.
  const Result dkd = run_oracle(batch, {4, 0, Convention::convex, SoftLoss::dkd});
  const Result kd = run_oracle(batch, {4, 0, Convention::convex, SoftLoss::kd});
  CHECK(std::fabs(dkd.loss[2] - kd.loss[2]) <= 1e-12);
}

TEST_CASE("soft losses: NaN or infinity in either net's logits shows in the loss, so that training can stop") {
  for (const SoftLoss loss : kAll)
    for (const bool standardize : {false, true})
      for (const bool student : {true, false})
        for (const std::size_t at : {0u, 7u, 11u}) {
          Batch batch({2, 6}, 3);
          float& logit = (student ? batch.z : batch.v)[at];
          CAPTURE(static_cast<int>(loss));
          CAPTURE(at);
          const DistillationSettings settings{2, 0, Convention::convex, loss, standardize};
          logit = std::numeric_limits<float>::quiet_NaN();
          CHECK(std::isnan(run_oracle(batch, settings).loss[0]));
          test::for_each_cpu_setting([&] { CHECK(std::isnan(run_cpu(batch, settings).loss[0])); });
          logit = std::numeric_limits<float>::infinity();
          for (const std::int64_t label : {0, 1, 5}) {  // at 0, 7 and 11 they are the label or not
            std::ranges::fill(batch.labels, label);
            test::for_each_cpu_setting([&] { CHECK_FALSE(std::isfinite(run_cpu(batch, settings).loss[0])); });
          }
        }
}

}  // namespace retort
