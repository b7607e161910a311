// What the cases of the losses share: a batch of logits and targets, losses and gradients of a backend, and how far off
// they may be.
#pragma once

#include <algorithm>
#include <cmath>

#include "tests/cases/backend.h"
#include "tests/cases/loss_bounds.h"

namespace retort::test {

/// z and v are uniform in +-range.
template <class T>
Logits logits(Rows rows, double range, std::uint64_t seed = 0) {
  const std::int64_t n = rows.rows * rows.classes;
  const int last = static_cast<int>(rows.classes) - 1;
  return {.rows = rows,
          .range = range,
          .z = wide(held<T>(uniform(n, 5 * seed + 1, -range, range))),
          .v = wide(held<T>(uniform(n, 5 * seed + 2, -range, range))),
          .weight = uniform(rows.rows, 5 * seed + 3, 0, 1),
          .labels = integers<std::int64_t>(rows.rows, 5 * seed + 4, 0, last),
          .labels2 = integers<std::int64_t>(rows.rows, 5 * seed + 5, 0, last)};
}

struct LossResult {
  std::vector<double> loss, dz;  // dz is NaN where no gradient was asked for
  bool operator==(const LossResult&) const = default;
};

/// Logits and targets on a backend, for any number of losses.
template <class T>
struct Losses {
  using P = ParameterOf<T>;
  const Backend& backend;
  const LossKernels& kernels;
  Rows rows;
  Buffer<T> z, v;
  Buffer<float> weight;
  Buffer<std::int64_t> labels, labels2;

  Losses(const Backend& where, const LossKernels& loss, const Logits& logits)
      : backend(where),
        kernels(loss),
        rows(logits.rows),
        z(where, as<T>(logits.z)),
        v(where, as<T>(logits.v)),
        weight(where, logits.weight),
        labels(where, logits.labels),
        labels2(where, logits.labels2) {}

  HardTargets targets(const Hard& hard) const {
    return {.labels = labels.get(),
            .labels2 = hard.mixup ? labels2.get() : nullptr,
            .weight = hard.mixup ? weight.get() : nullptr,
            .smoothing = hard.smoothing};
  }
  LossResult distillation(const DistillationSettings& settings, const HardTargets& hard, bool gradient = true,
                          bool teacher = true) const {
    const Buffer<P> loss(backend, 3);
    const Buffer<T> dz(backend, count());
    kernels.distillation({}, rows, settings, hard, z.get(), teacher ? v.get() : nullptr, loss.get(),
                         gradient ? dz.get() : nullptr, workspace().get());
    return {loss.wide(), dz.wide()};
  }
  LossResult cross_entropy(const HardTargets& hard, bool gradient = true) const {
    const Buffer<P> loss(backend, 1);
    const Buffer<T> dz(backend, count());
    kernels.cross_entropy({}, rows, hard, z.get(), loss.get(), gradient ? dz.get() : nullptr, workspace().get());
    return {loss.wide(), dz.wide()};
  }

 private:
  std::size_t count() const { return static_cast<std::size_t>(rows.rows * rows.classes); }
  Buffer<char> workspace() const { return {backend, kernels.workspace_bytes(rows)}; }
};

inline Losses<double> oracle_losses(const Logits& logits) { return {host(), oracle().loss, logits}; }

/// Losses and gradient within their bounds, rounded once.
template <class T, class OfGradient>
void check_losses(const Backend& backend, const LossResult& found, const LossResult& expected,
                  const std::vector<double>& of_losses, const OfGradient& of_gradient) {
  CHECK(worst(found.loss, expected.loss,
              [&](std::size_t i) { return rounding_tolerance(expected.loss[i], of_losses[i]); }) <= 1);
  CHECK(holds(backend, as<T>(found.dz), expected.dz, of_gradient));
}

}  // namespace retort::test
