#include "engine/distill/training_step.h"

#include <doctest/doctest.h>

#include "engine/core/random.h"
#include "tests/models/golden.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("training step: it takes another loss from step to step") {
  const auto network = make_network(spec_of("mlp:4", 3, 2), 0);
  Optimizer optimizer(parameters(*network), {});
  Tensor x = Tensor::empty({2, 2, 2, 3}), teacher = Tensor::empty({2, 3});
  fill_uniform(x, -1, 1, Random(1));
  fill_uniform(teacher, -2, 2, Random(2));
  const StepInputs inputs{
      .x = x, .labels = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{0, 2}), .teacher = teacher};
  StepSettings settings;
  settings.distillation = {4, 0.5, Convention::convex};
  TrainingStep eager(*network, optimizer, settings);
  const auto total = [&] { return eager.run(inputs, /*lr=*/0).total.item(); };
  const double soft = total();
  CHECK(total() == soft);  // nothing moves at this learning rate
  eager.distil_by({4, 1, Convention::convex});
  CHECK(total() != soft);
  eager.distil_by({4, 0.5, Convention::convex});
  CHECK(total() == soft);
}
