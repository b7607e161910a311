// Every step of the ladder, by the cases of its family.
#include "kernels/cuda/ladder/ladder.h"

#include <cmath>
#include <set>

#include "tests/cases/conv2d.h"
#include "tests/cases/loss.h"
#include "tests/cases/softmax.h"
#include "tests/simt/backends.h"

namespace retort {

TEST_CASE("ladder: steps have names of their own, by which they are found") {
  std::set<std::string> names;
  for (const auto& ladder : {simt::conv2d_fprop_ladder(), simt::softmax_ladder(), simt::loss_ladder()}) {
    REQUIRE(ladder.size() > 1);
    for (std::size_t i = 0; i < ladder.size(); ++i) {
      const std::string name = ladder[i].name;
      CHECK(names.insert(name).second);
      CHECK(name.find("." + std::to_string(i + 1) + "_") != std::string::npos);
      CHECK(ladder[i].table.name == name);
      CHECK(simt::find_ladder_step(name) == &ladder[i]);
    }
  }
  CHECK(simt::find_ladder_step("conv2d") == nullptr);
}

// From the fourth step on, f32 operands are rounded to tf32.
TEST_CASE("ladder: conv2d") {
  test::run_cases(test::kConv2dCases, test::ladder_backends(RETORT_DEVICE(conv2d_fprop_ladder)(), test::kTf32Rounding));
}

TEST_CASE("ladder: softmax") {
  test::run_cases(test::kSoftmaxCases, test::ladder_backends(RETORT_DEVICE(softmax_ladder)()));
}

TEST_CASE("ladder: loss") {
  test::run_cases(test::kDistillationCases, test::ladder_backends(RETORT_DEVICE(loss_ladder)()));
}

TEST_CASE("ladder: a label that is no class makes the loss NaN at every step") {
  test::Logits batch = test::logits<float>({2, 10}, 1);
  batch.labels = {3, 10};
  for (const test::Backend& step : test::ladder_backends(RETORT_DEVICE(loss_ladder)())) {
    CAPTURE(step.name);
    const test::Losses<float> losses(step, step.f32->loss, batch);
    const std::vector<double> found = losses.distillation({.temperature = 2, .lambda = 0.5}, losses.targets({})).loss;
    CHECK(std::isnan(found[1]));
    CHECK(std::isfinite(found[2]));
  }
}

}  // namespace retort
