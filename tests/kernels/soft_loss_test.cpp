// The soft terms beside plain KD's: the cases of every backend, and the oracle against closed forms and finite
// differences.
#include "tests/cases/soft_loss.h"

#include "tests/kernels/backends.h"

namespace retort {
namespace {

using test::blank;
using test::epsilon64;

const LossKernels& oracle() { return kernels_for(Device::reference, DType::f64).loss; }

test::LossResult run_oracle(const test::Logits& batch, const DistillationSettings& settings) {
  const test::Losses<double> losses = test::oracle_losses(batch);
  return losses.distillation(settings, losses.targets({}));
}

/// The loss of one row of logits, without labels' part.
double soft(SoftLoss loss, double temperature, std::vector<double> z, std::vector<double> v, std::int64_t label) {
  std::vector<double> parts = blank<double>(3);
  oracle().distillation({}, {1, static_cast<std::int64_t>(z.size())}, {temperature, 0, Convention::convex, loss},
                        {&label}, z.data(), v.data(), parts.data(), nullptr, nullptr);
  return parts[2];
}

}  // namespace

TEST_CASE("cpu soft_loss") { test::run_cases(test::kSoftLossCases, test::cpu_backends()); }

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
  test::Logits batch = test::logits<float>({4, 7}, 3), moved = batch;
  for (std::size_t i = 0; i < moved.z.size(); ++i) {
    moved.z[i] = 4 * batch.z[i] + 2;
    moved.v[i] = 8 * batch.v[i] - 1;
  }
  for (const SoftLoss loss : test::soft_losses()) {
    const DistillationSettings settings{2, 0, Convention::convex, loss, true};
    const double first = run_oracle(batch, settings).loss[2], second = run_oracle(moved, settings).loss[2];
    // The floor of 1e-7 weighs less on a wider row.
    CHECK(std::fabs(first - second) <= 1e-5 * (1 + std::fabs(first)));
  }
}

TEST_CASE("reference soft losses: the gradient is the loss's, by finite differences") {
  const test::Logits batch = test::logits<double>({3, 5}, 3);
  std::vector<double> z = batch.z;
  const std::vector<double>& v = batch.v;
  for (const SoftLoss loss : test::soft_losses())
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

TEST_CASE("soft losses: with two classes their own part of the gradient vanishes, as the warnings say") {
  const test::Logits batch = test::logits<double>({200, 2}, 5);
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
    deviation = std::min(deviation, std::fabs(batch.z[i] - batch.z[i + 1]) / std::sqrt(2.0));
  CHECK(largest(SoftLoss::kd, true) <= 4 * kStandardFloor / (deviation * deviation));
  // DKD is then kd: the term over the other classes has one class to compare.
  const test::LossResult dkd = run_oracle(batch, {4, 0, Convention::convex, SoftLoss::dkd});
  const test::LossResult kd = run_oracle(batch, {4, 0, Convention::convex, SoftLoss::kd});
  CHECK(std::fabs(dkd.loss[2] - kd.loss[2]) <= 1e-12);
}

}  // namespace retort
