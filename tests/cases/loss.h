// Cross-entropy and plain distillation on any backend; the other soft losses are in soft_loss.h.
#pragma once

#include <limits>
#include <tuple>

#include "tests/cases/logits.h"
#include "tests/cases/rows_shapes.h"

namespace retort::test {
namespace loss_cases {

struct Setting {
  DistillationSettings settings;
  Hard hard;
};
/// Temperatures, weights, conventions and kinds of target, each with each.
inline std::vector<Setting> all_settings() {
  std::vector<Setting> settings;
  for (const double temperature : {0.5, 4.0, 20.0})
    for (const double lambda : {0.0, 0.07, 1.0})
      for (const Convention convention : {Convention::convex, Convention::additive})
        for (const Hard& hard : {Hard{}, Hard{.mixup = true, .smoothing = 0.1}})
          settings.push_back({{temperature, lambda, convention}, hard});
  return settings;
}
/// A few of every kind.
inline std::vector<Setting> few_settings() {
  return {{{4, 0.1, Convention::convex}, {}},
          {{4, 0, Convention::convex}, {}},
          {{1, 1, Convention::convex}, {.smoothing = 0.1}},
          {{20, 0.5, Convention::convex}, {.mixup = true, .smoothing = 0.1}},
          {{4, 0.5, Convention::additive}, {}},
          {{3, 0.7, Convention::additive}, {.mixup = true}},
          {{0.5, 0, Convention::additive}, {}},
          {{0.5, 0, Convention::convex}, {}}};
}

template <class T>
void check(const Backend& backend, const LossKernels& kernels, const Logits& logits,
           const std::vector<Setting>& settings, Work work) {
  if (work > backend.work) return;
  CAPTURE(logits.rows.rows);
  CAPTURE(logits.rows.classes);
  CAPTURE(logits.range);
  struct Expected {
    LossResult result;
    Bounds bounds;
    SameBits same;
  };
  const Losses<double> host = oracle_losses(logits);
  std::vector<Expected> all;
  for (const auto& [s, hard] : settings)
    all.push_back({host.distillation(s, host.targets(hard)), bounds(backend.arithmetic, logits, s, hard), {}});
  const Losses<T> there(backend, kernels, logits);
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    for (std::size_t i = 0; i < settings.size(); ++i) {
      const DistillationSettings& s = settings[i].settings;
      const Hard& hard = settings[i].hard;
      CAPTURE(s.temperature);
      CAPTURE(s.lambda);
      CAPTURE((s.convention == Convention::convex));
      CAPTURE(hard.mixup);
      CAPTURE(hard.smoothing);
      // A weight of 0 reads no labels, or no teacher.
      const HardTargets labels = s.lambda > 0 ? there.targets(hard) : HardTargets{};
      const bool teacher = weight_of_soft(s) != 0;
      const LossResult found = there.distillation(s, labels, true, teacher);
      check_losses<T>(backend, found, all[i].result, all[i].bounds.losses,
                      [&](std::size_t j) { return all[i].bounds.dz[j]; });
      CHECK(there.distillation(s, labels, false, teacher).loss == found.loss);
      all[i].same.check(mode, {found.loss, found.dz});
    }
  });
}

template <class T>
void check_cross_entropy(const Backend& backend, const LossKernels& kernels, const Logits& logits, Work work) {
  if (work > backend.work) return;
  CAPTURE(logits.rows.rows);
  CAPTURE(logits.rows.classes);
  struct Expected {
    Hard hard;
    LossResult result;
    Bounds bounds;
  };
  const Losses<double> host = oracle_losses(logits);
  std::vector<Expected> all;
  for (const bool mixup : {false, true})
    for (const double smoothing : {0.0, 0.1}) {
      const Hard hard = {mixup, smoothing};
      all.push_back(
          {hard, host.cross_entropy(host.targets(hard)), bounds(backend.arithmetic, logits, {.lambda = 1}, hard)});
    }
  const Losses<T> there(backend, kernels, logits);
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    for (const Expected& expected : all) {
      CAPTURE(expected.hard.mixup);
      CAPTURE(expected.hard.smoothing);
      const LossResult found = there.cross_entropy(there.targets(expected.hard));
      check_losses<T>(backend, found, expected.result, {expected.bounds.losses[1]},
                      [&](std::size_t i) { return expected.bounds.dz[i]; });
      CHECK(there.cross_entropy(there.targets(expected.hard), false).loss == found.loss);
    }
  });
}

inline void equals_the_oracle(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const auto& [rows, work] : kRowsShapes)
      check<T>(backend, table.loss, logits<T>(rows, 8), few_settings(), work);
    check<T>(backend, table.loss, logits<T>({9, 10}, 20), few_settings(), Work::little);
    check<T>(backend, table.loss, logits<T>({2, 257}, 20), few_settings(), Work::modest);
    check<T>(backend, table.loss, logits<T>({20, 1000}, 100), {{{0.5, 0.2, Convention::convex}, {}}}, Work::usual);
  });
}

inline void every_setting(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    for (const auto& [rows, range, work] : {std::tuple{Rows{1, 2}, 100.0, Work::usual},
                                            {Rows{3, 2}, 1e-3, Work::usual},
                                            {Rows{2, 3}, 10.0, Work::usual},
                                            {Rows{5, 10}, 100.0, Work::usual},
                                            {Rows{67, 17}, 1.0, Work::much},
                                            {Rows{67, 37}, 1.0, Work::much},
                                            {Rows{3, 1000}, 100.0, Work::much}})
      check<float>(backend, table.loss, logits<float>(rows, range), all_settings(), work);
    // Enough rows for several tasks.
    check<float>(backend, table.loss, logits<float>({301, 37}, 10), few_settings(), Work::much);
  });
}

inline void cross_entropy(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for (const auto& [rows, work] : kRowsShapes) check_cross_entropy<T>(backend, table.loss, logits<T>(rows, 8), work);
    for (const Rows rows : {Rows{1, 1}, Rows{1, 2}, Rows{7, 10}, Rows{130, 9}, Rows{4, 1000}})
      check_cross_entropy<T>(backend, table.loss, logits<T>(rows, 100), Work::usual);
  });
}

/// A student that equals its teacher; one close by keeps digits.
inline void near_the_teacher(const Backend& backend) {
  const DistillationSettings settings{4, 0, Convention::convex};
  Logits same = logits<float>({2, 50}, 30), close = same;
  same.v = same.z;
  for (std::size_t i = 0; i < close.v.size(); ++i)
    close.v[i] = static_cast<float>(close.z[i]) + (i % 2 ? 1e-3f : -1e-3f);
  const LossResult expected = oracle_losses(close).distillation(settings, {});
  double largest = 0;
  for (const double value : expected.dz) largest = std::max(largest, std::fabs(value));
  for_each_f32(backend, [&](const KernelTable& table) {  // bf16 has no digits to keep
    for_each_mode(backend, [&](const Mode&) {
      const LossResult zero = Losses<float>(backend, table.loss, same).distillation(settings, {});
      CHECK(zero.loss == std::vector<double>(3, 0));
      CHECK(zero.dz == std::vector<double>(100, 0));
      // q - p is some 1e-3 / T of q, and q is off by a few units.
      const LossResult found = Losses<float>(backend, table.loss, close).distillation(settings, {});
      CHECK(worst(found.dz, expected.dz, [&](std::size_t) { return 5e-3 * largest; }) <= 1);
    });
  });
}

inline void a_weight_of_0_reads_nothing(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const Losses<T> losses(backend, table.loss, logits<T>({3, 19}, 5));
    for_each_mode(backend, [&](const Mode&) {
      for (const Convention convention : {Convention::convex, Convention::additive}) {
        const LossResult soft = losses.distillation({2, 0, convention}, {});
        CHECK(soft.loss[0] == soft.loss[2]);
        CHECK(soft.loss[1] == 0);
        CHECK(soft.loss[2] > 0);
      }
      const LossResult hard =
          losses.distillation({2, 1, Convention::convex}, losses.targets({}), true, /*teacher=*/false);
      CHECK(hard.loss[0] == hard.loss[1]);
      CHECK(hard.loss[2] == 0);
      const LossResult alone = losses.cross_entropy(losses.targets({}));
      CHECK(alone.loss[0] == hard.loss[0]);
      CHECK(alone.dz == hard.dz);
    });
  });
}

inline void nan(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode&) {
      for (const Convention convention : {Convention::convex, Convention::additive})
        for (const std::size_t at : {0u, 7u, 20u, 41u})
          for (const bool student : {true, false}) {
            Logits batch = logits<T>({2, 21}, 5);
            (student ? batch.z : batch.v)[at] = std::numeric_limits<double>::quiet_NaN();
            const Losses<T> losses(backend, table.loss, batch);
            const LossResult found = losses.distillation({2, 0.5, convention}, losses.targets({}));
            CHECK(std::isnan(found.loss[0]));
            CHECK(std::isnan(found.dz[at]));
          }
    });
  });
}

}  // namespace loss_cases

/// What each step of the ladder does too.
inline const std::vector<Case> kDistillationCases = {
    {"losses and gradients equal the oracle at every width", loss_cases::equals_the_oracle},
};
inline const std::vector<Case> kLossCases = {
    kDistillationCases[0],
    {"losses and gradients equal the oracle over temperatures, weights, conventions and targets",
     loss_cases::every_setting},
    {"cross-entropy equals the oracle with mixup and smoothing", loss_cases::cross_entropy},
    {"a student that equals its teacher has soft loss 0 and gradient 0; one close by keeps digits",
     loss_cases::near_the_teacher},
    {"lambda 0 reads no labels, and a soft weight of 0 no teacher", loss_cases::a_weight_of_0_reads_nothing},
    {"NaN in either net's logits makes the loss NaN, so that training can stop", loss_cases::nan},
};

}  // namespace retort::test
