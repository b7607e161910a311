// The soft terms beside plain distillation, and standardised logits, on any backend.
#pragma once

#include <limits>

#include "tests/cases/logits.h"
#include "tests/soft_losses.h"

namespace retort::test {
namespace soft_loss_cases {

template <class T>
void check(const Backend& backend, const LossKernels& kernels, const Logits& logits,
           const std::vector<DistillationSettings>& settings, Work work) {
  if (work > backend.work) return;
  CAPTURE(logits.rows.rows);
  CAPTURE(logits.rows.classes);
  CAPTURE(logits.range);
  struct Expected {
    LossResult result;
    Bounds soft;
    SameBits same;
  };
  const Losses<double> host = oracle_losses(logits);
  std::vector<Expected> all;
  for (const DistillationSettings& s : settings)
    all.push_back({host.distillation(s, host.targets({})), bounds(backend.arithmetic, logits, s), {}});
  const double hard_noise = backend.arithmetic.softmax_in_loss(logits.rows.classes, 2 * logits.range),
               of_hard = logarithm_error(hard_noise);
  const Losses<T> there(backend, kernels, logits);
  for_each_mode(backend, [&](const Mode& mode) {
    if (!mode.affords(work)) return;
    for (std::size_t k = 0; k < settings.size(); ++k) {
      const DistillationSettings& s = settings[k];
      CAPTURE(static_cast<int>(s.loss));
      CAPTURE(s.standardize);
      CAPTURE(s.temperature);
      CAPTURE(s.lambda);
      const double w = weight_of_soft(s);
      const LossResult found = there.distillation(s, there.targets({}));
      check_losses<T>(backend, found, all[k].result,
                      {s.lambda * of_hard + w * all[k].soft.loss, of_hard, all[k].soft.loss}, [&](std::size_t i) {
                        return s.lambda * (hard_noise + epsilon32) / static_cast<double>(logits.rows.rows) +
                               w * all[k].soft.dz[i];
                      });
      CHECK(there.distillation(s, there.targets({}), false).loss == found.loss);
      all[k].same.check(mode, {found.loss, found.dz});
    }
  });
}

/// Standardised rows of two classes are all the same: nothing but rounding is left.
inline std::vector<DistillationSettings> of_all_losses(Rows rows, const std::vector<DistillationSettings>& settings) {
  std::vector<DistillationSettings> all;
  for (const SoftLoss loss : soft_losses())
    for (DistillationSettings s : settings) {
      if (s.standardize && rows.classes <= 2) continue;
      s.loss = loss;
      all.push_back(s);
    }
  return all;
}

inline void every_width(const Backend& backend) {
  const std::vector<DistillationSettings> settings = {
      {.temperature = 4, .lambda = 0.1},
      {.temperature = 0.5, .convention = Convention::additive, .soft_weight = 1.7},
      {.temperature = 2, .lambda = 0.3, .convention = Convention::additive, .standardize = true, .soft_weight = 9}};
  std::size_t turn = 0;
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    // Around every change of method: lanes of a warp, wide accesses, registers against memory.
    for (const std::int64_t classes : {1, 2, 3, 10, 31, 33, 100, 256, 257, 1000, 1001, 1024, 1025, 2048, 4099}) {
      const Rows rows{classes > 1000 ? 3 : 7, classes};
      if (classes <= 2 && settings[turn % settings.size()].standardize) ++turn;
      const std::vector<DistillationSettings> one = {settings[turn++ % settings.size()]};
      check<T>(backend, table.loss, logits<T>(rows, 8), of_all_losses(rows, backend.few_settings ? one : settings),
               Work::usual);
    }
    ++turn;  // so that another type has other settings
  });
}

inline void every_temperature(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    std::vector<DistillationSettings> settings;
    for (const double temperature : {0.5, 1.0, 3.0, 20.0})
      for (const bool standardize : {false, true})
        settings.push_back({.temperature = temperature, .lambda = 0.2, .standardize = standardize});
    settings.push_back({.temperature = 2, .constant = 0.25});
    check<float>(backend, table.loss, logits<float>({5, 19}, 6), of_all_losses({5, 19}, settings), Work::usual);
    for (const std::int64_t rows : {1, 2, 8, 9, 64, 65, 129, 300})
      check<float>(
          backend, table.loss, logits<float>({rows, 12}, 4, 7),
          of_all_losses({rows, 12}, {{.temperature = 4, .lambda = 0.5, .soft_weight = 2},
                                     {.temperature = 4, .lambda = 0.5, .standardize = true, .soft_weight = 2}}),
          Work::usual);
  });
}

inline void every_range(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    std::vector<DistillationSettings> settings;
    for (const bool standardize : {false, true})
      for (const double temperature : {1.0, 4.0})
        settings.push_back({.temperature = temperature,
                            .lambda = 0.3,
                            .convention = temperature == 1 ? Convention::additive : Convention::convex,
                            .standardize = standardize,
                            .soft_weight = 1.5});
    for (const auto& [rows, range, work] : {std::tuple{Rows{2, 2}, 5.0, Work::usual},
                                            {Rows{3, 3}, 10.0, Work::usual},
                                            {Rows{1, 10}, 3.0, Work::usual},
                                            {Rows{67, 17}, 4.0, Work::usual},
                                            {Rows{4, 10}, 100.0, Work::usual},
                                            {Rows{5, 1000}, 8.0, Work::much}})
      check<float>(backend, table.loss, logits<float>(rows, range), of_all_losses(rows, settings), work);
    for (const Rows rows : {Rows{70, 33}, {9, 1000}, {2, 2000}})
      check<float>(backend, table.loss, logits<float>(rows, 100),
                   of_all_losses(rows, {{.temperature = 0.5, .lambda = 0.2},
                                        {.temperature = 0.5, .lambda = 0.2, .standardize = true}}),
                   Work::little);
  });
}

/// Rows without any deviation: what is seen is 0 everywhere, and the gradient is the same for every class.
inline void equal_logits(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    Logits flat = logits<T>({3, 5}, 1);
    flat.z.assign(flat.z.size(), float(T(3.7f)));
    const Losses<T> losses(backend, table.loss, flat);
    for_each_mode(backend, [&](const Mode&) {
      for (const SoftLoss loss : soft_losses())
        for (const bool standardize : {false, true}) {
          CAPTURE(static_cast<int>(loss));
          const LossResult found =
              losses.distillation({2, 0.3, Convention::convex, loss, standardize}, losses.targets({}));
          for (const double value : found.loss) CHECK(std::isfinite(value));
          for (const double value : found.dz) CHECK(std::isfinite(value));
        }
    });
  });
}

/// So that training can stop.
inline void not_finite(const Backend& backend) {
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    for_each_mode(backend, [&](const Mode&) {
      for (const bool student : {true, false})
        for (const std::size_t at : {0u, 7u, 11u}) {
          Logits batch = logits<T>({2, 6}, 3);
          double& logit = (student ? batch.z : batch.v)[at];
          CAPTURE(at);
          const auto loss_of = [&](SoftLoss loss, bool standardize) {
            const Losses<T> losses(backend, table.loss, batch);
            return losses.distillation({2, 0, Convention::convex, loss, standardize}, losses.targets({})).loss[0];
          };
          for (const SoftLoss loss : soft_losses())
            for (const bool standardize : {false, true}) {
              CAPTURE(static_cast<int>(loss));
              logit = std::numeric_limits<double>::quiet_NaN();
              CHECK(std::isnan(loss_of(loss, standardize)));
              if (!backend.infinite_logits_show) continue;
              logit = std::numeric_limits<double>::infinity();
              for (const std::int64_t label : {0, 1, 5}) {  // at 0, 7 and 11 they are the label or not
                std::ranges::fill(batch.labels, label);
                CHECK_FALSE(std::isfinite(loss_of(loss, standardize)));
              }
            }
        }
    });
  });
}

/// Beside logits of 30 and 25, 1 - p is 1e-13 and 1 - q 1e-11: as differences from 1 both would be 0 in float.
inline void sure_nets(const Backend& backend) {
  Logits batch = logits<float>({2, 4}, 1);
  const std::vector<float> z = {25, 0.5f, -0.5f, 0.1f, 0.3f, 30, -0.2f, 0.7f},
                           v = {30, -0.5f, 0.5f, 0.3f, -0.1f, 25, 0.9f, -0.3f};
  batch.z = wide(z), batch.v = wide(v);
  batch.labels = {0, 1};
  const Losses<double> host = oracle_losses(batch);
  for_each_f32(backend, [&](const KernelTable& table) {
    const Losses<float> losses(backend, table.loss, batch);
    for_each_mode(backend, [&](const Mode&) {
      for (const SoftLoss loss : {SoftLoss::dkd, SoftLoss::nkd}) {
        CAPTURE(static_cast<int>(loss));
        const DistillationSettings settings{1, 0, Convention::convex, loss};
        const LossResult found = losses.distillation(settings, losses.targets({})),
                         expected = host.distillation(settings, host.targets({}));
        // The label's own element is tiny, and right to the few units that an exponential of 30 costs. The oracle takes
        // it as a difference from 1, in double.
        CHECK(worst(found.dz, expected.dz,
                    [&](std::size_t i) { return 64 * epsilon32 * std::fabs(expected.dz[i]) + 4 * epsilon64; }) <= 1);
        CHECK(std::fabs(expected.dz[0]) < 1e-10);
      }
    });
  });
}

inline void a_weight_of_0_reads_nothing(const Backend& backend) {
  for_each_f32(backend, [&](const KernelTable& table) {
    const Losses<float> losses(backend, table.loss, logits<float>({3, 10}, 2));
    for_each_mode(backend, [&](const Mode&) {
      const LossResult alone = losses.cross_entropy(losses.targets({}));
      for (const SoftLoss loss : soft_losses()) {
        CAPTURE(static_cast<int>(loss));
        const LossResult hard =
            losses.distillation({4, 1, Convention::convex, loss}, losses.targets({}), true, /*teacher=*/false);
        CHECK(hard.loss[2] == 0);
        CHECK(std::fabs(hard.loss[0] - alone.loss[0]) <= 8 * epsilon32 * alone.loss[0]);
        CHECK(worst(hard.dz, alone.dz, [](std::size_t) { return 4 * epsilon32; }) <= 1);
        if (soft_reads_labels(loss)) continue;
        const LossResult soft = losses.distillation({4, 0, Convention::convex, loss}, {});
        CHECK(std::isfinite(soft.loss[0]));
        CHECK(soft.loss[1] == 0);
      }
    });
  });
}

inline void scalars_from_memory(const Backend& backend) {
  const Buffer<LossScalars> there(backend, std::vector<LossScalars>{{3, 0.4, 1.5}});
  for_each_type(backend, [&](auto zero, const KernelTable& table) {
    using T = decltype(zero);
    const Losses<T> losses(backend, table.loss, logits<T>({5, 17}, 4));
    for_each_mode(backend, [&](const Mode&) {
      for (const SoftLoss loss : soft_losses())
        for (const bool standardize : {false, true})
          for (const Convention convention : {Convention::convex, Convention::additive}) {
            CAPTURE(static_cast<int>(loss));
            CAPTURE(standardize);
            const DistillationSettings own{3, 0.4, convention, loss, standardize, 1.5};
            DistillationSettings read{7, 0, convention, loss, standardize, 0.1};
            read.scalars = there.get();
            CHECK(losses.distillation(read, losses.targets({})) == losses.distillation(own, losses.targets({})));
          }
    });
  });
}

}  // namespace soft_loss_cases

inline const std::vector<Case> kSoftLossCases = {
    {"every width, with and without standardised logits", soft_loss_cases::every_width},
    {"every temperature, and batches of one row to three hundred", soft_loss_cases::every_temperature},
    {"logits up to 100", soft_loss_cases::every_range},
    {"equal logits stay finite", soft_loss_cases::equal_logits},
    {"NaN or infinity in either net's logits shows in the loss", soft_loss_cases::not_finite},
    {"a sure teacher and a sure student keep the digits of what is left beside the label", soft_loss_cases::sure_nets},
    {"a term without weight reads no teacher and no label", soft_loss_cases::a_weight_of_0_reads_nothing},
    {"numbers in the backend's memory are taken in place of the settings' own", soft_loss_cases::scalars_from_memory},
};

}  // namespace retort::test
