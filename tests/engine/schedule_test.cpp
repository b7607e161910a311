#include "engine/nn/schedule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

using namespace retort;

namespace {

doctest::Approx about(double value) { return doctest::Approx(value).epsilon(1e-14); }

}  // namespace

TEST_CASE("constant and plateau keep the peak") {
  for (const ScheduleKind kind : {ScheduleKind::constant, ScheduleKind::plateau})
    for (const double epoch : {0.0, 3.5, 9.99})
      CHECK(learning_rate({.kind = kind, .lr = 0.2, .epochs = 10}, epoch) == 0.2);
}

TEST_CASE("cosine: the peak at the start, half of it half-way, 0 at the end") {
  const ScheduleSettings settings{.kind = ScheduleKind::cosine, .lr = 0.4, .epochs = 10};
  CHECK(learning_rate(settings, 0) == about(0.4));
  CHECK(learning_rate(settings, 2.5) == about(0.2 * (1 + std::sqrt(0.5))));
  CHECK(learning_rate(settings, 5) == about(0.2));
  CHECK(std::abs(learning_rate(settings, 10)) <= 1e-16);
  CHECK(std::abs(learning_rate(settings, 11)) <= 1e-16);
}

TEST_CASE("step: a tenth after each third of the run") {
  const ScheduleSettings settings{.kind = ScheduleKind::step, .lr = 1, .epochs = 9};
  CHECK(learning_rate(settings, 0) == about(1));
  CHECK(learning_rate(settings, 2.99) == about(1));
  CHECK(learning_rate(settings, 3) == about(0.1));
  CHECK(learning_rate(settings, 5.99) == about(0.1));
  CHECK(learning_rate(settings, 6) == about(0.01));
  CHECK(learning_rate(settings, 9) == about(0.01));
}

TEST_CASE("warm-up rises linearly to the peak, and the cosine starts after it") {
  const ScheduleSettings settings{.kind = ScheduleKind::cosine, .lr = 0.4, .epochs = 12, .warmup_epochs = 2};
  CHECK(learning_rate(settings, 0.5) == about(0.1));
  CHECK(learning_rate(settings, 1) == about(0.2));
  CHECK(learning_rate(settings, 2) == about(0.4));
  CHECK(learning_rate(settings, 7) == about(0.2));
  const ScheduleSettings all{.kind = ScheduleKind::cosine, .lr = 0.4, .epochs = 2, .warmup_epochs = 2};
  CHECK(learning_rate(all, 1.5) == about(0.3));
}

TEST_CASE("plateau: a tenth after `patience` epochs without improvement, NaN among them") {
  Plateau plateau(2);
  for (const double loss : {5.0, 4.0, 4.0, 3.0}) plateau.observe(loss);
  CHECK(plateau.factor() == 1);
  plateau.observe(3.5);
  CHECK(plateau.factor() == 1);
  plateau.observe(std::nan(""));
  CHECK(plateau.factor() == about(0.1));
  CHECK(plateau.bad_epochs == 0);
  plateau.observe(3);
  plateau.observe(3);
  CHECK(plateau.factor() == about(0.01));
  plateau.observe(2);
  CHECK(plateau.best == 2);
}

TEST_CASE("plateau: restored, it goes on where it stopped") {
  Plateau whole(3), resumed(3);
  const double losses[] = {5, 6, 7, 8, 4, 5, 5, 5, 3};
  for (int i = 0; i < 3; ++i) whole.observe(losses[i]);
  resumed.restore(whole.best, whole.bad_epochs, whole.factor());
  for (int i = 3; i < 9; ++i) {
    whole.observe(losses[i]);
    resumed.observe(losses[i]);
    CHECK(resumed.factor() == whole.factor());
  }
  CHECK(whole.factor() == about(0.01));
}
