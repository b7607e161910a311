// Whole training steps through the engine on the device's kernels, against the CPU's and the double reference's.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/core/graph.h"
#include "engine/core/tape.h"
#include "engine/distill/training_step.h"
#include "engine/nn/optimizer.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "kernels/simt/counters.h"
#include "models/registry.h"
#include "tests/distillation_step.h"
#include "tests/simt/backends.h"
#include "tests/soft_losses.h"

namespace retort {
namespace {

using test::distance;
using test::distillation_step;
using test::on_host;
using test::spec_of;
using test::Step;

/// Steps of trained(): the first is captured, the last is short, and those between are replayed from the graph.
std::uint64_t steps() { return test::at_length() ? 11 : 5; }

/// Losses and logits of a few steps of a small network, its weights after them, and how many were replayed.
struct Trained {
  std::vector<double> seen, weights;
  std::int64_t replays;
};

Trained train(bool capture, std::int64_t parts) {
  const ModelSpec spec = spec_of(test::at_length() ? "resnet20" : "resnet8", 8, 3);
  const std::unique_ptr<Network> network = make_network(spec, 1);
  to_device(*network, test::device_under_test());
  Optimizer optimizer(parameters(*network), {.kind = OptimizerKind::adamw, .weight_decay = 0.01, .max_norm = 1});
  TrainingStep step(*network, optimizer,
                    {.distillation = {4, 0.3, Convention::convex}, .dropout = 0.5, .capture = capture, .parts = parts});
  Trained trained;
  for (std::uint64_t i = 0; i < steps(); ++i) {
    const std::int64_t n = i + 1 == steps() ? 3 : 4;
    StepInputs inputs{.x = Tensor::from<float>({n, 8, 8, 3}, test::uniform(n * 8 * 8 * 3, i, -2, 2)),
                      .labels = Tensor::from<std::int64_t>({n}, test::integers<std::int64_t>(n, i, 0, 2)),
                      .teacher = Tensor::from<float>({n, 3}, test::uniform(n * 3, 100 + i, -3, 3)),
                      .dropout_key = dropout_key(7, i << 16),
                      .whole = n * parts};
    const std::vector<StepInputs> all(static_cast<std::size_t>(parts), inputs);
    const StepResults results = step.run(all, 0.05 / static_cast<double>(i + 1)).back();
    Readback readback({results.total, results.logits});
    for (const Tensor& tensor : readback.wait())
      for (const double value : on_host(tensor)) trained.seen.push_back(value);
  }
  trained.replays = step.replays();
  for (const Parameter* parameter : parameters(*network))
    for (const double value : on_host(parameter->value)) trained.weights.push_back(value);
  return trained;
}

/// The same, trained once for all tests that compare with it.
const Trained& trained(bool capture, std::int64_t parts = 1) {
  return test::once(std::to_string(capture) + std::to_string(parts), [&] { return train(capture, parts); });
}

/// Losses of steps of a small network while temperature, lambda and soft weight change; then its weights. Parameters
/// fall into groups of the optimizer, and of the rows perhaps only the first have a label.
std::vector<double> scheduled_steps(Device device, bool capture, SoftLoss loss, bool standardize,
                                    std::optional<std::int64_t> labelled = {}) {
  const std::unique_ptr<Network> network = make_network(spec_of("mlp:6", 4, 5), 1);
  to_device(*network, device);
  OptimizerSettings optimizing{.kind = OptimizerKind::sgd, .momentum = 0.9};
  if (labelled) {
    optimizing.weight_decay = 0.01;
    optimizing.decay_vectors = false;
    optimizing.lr_factors = {{"layers.1.weight", 2}};
    optimizing.max_norm = 1;
  }
  Optimizer optimizer(parameters(*network), optimizing);
  DistillationSettings settings{4, 0, Convention::convex, loss, standardize, 0.5};
  TrainingStep step(*network, optimizer, {.distillation = settings, .dropout = std::nullopt, .capture = capture});
  std::vector<double> seen;
  for (std::uint64_t i = 0; i < 6; ++i) {
    const auto at = static_cast<double>(i);
    settings.temperature = 4 - at / 2;
    settings.lambda = at / 10;  // the first step reads no labels
    settings.soft_weight = 0.5 + at / 10;
    step.distil_by(settings);
    const StepInputs inputs{.x = Tensor::from<float>({4, 4, 4, 3}, test::uniform(4 * 4 * 4 * 3, i, -2, 2)),
                            .labels = Tensor::from<std::int64_t>({4}, test::integers<std::int64_t>(4, i, 0, 4)),
                            .teacher = Tensor::from<float>({4, 5}, test::uniform(4 * 5, 100 + i, -3, 3)),
                            .dropout_key = dropout_key(7, i << 16),
                            .labelled = labelled};
    Readback readback({step.run(inputs, 0.05).parts});
    for (const double value : on_host(readback.wait()[0])) seen.push_back(value);
  }
  CHECK(step.replays() == (capture ? 5 : 0));
  for (const Parameter* parameter : parameters(*network))
    for (const double value : on_host(parameter->value)) seen.push_back(value);
  return seen;
}

/// How often each of three steps normalises, while the simulator says that so much memory is free.
std::vector<std::int64_t> normalisations(std::size_t free_memory) {
  const std::unique_ptr<Network> network = make_network(spec_of("resnet8", 8, 3), 1);
  to_device(*network, Device::simt);
  Optimizer optimizer(parameters(*network), {.kind = OptimizerKind::sgd});
  TrainingStep step(*network, optimizer, {});
  const StepInputs inputs{.x = Tensor::from<float>({2, 8, 8, 3}, test::uniform(2 * 8 * 8 * 3, 1)),
                          .labels = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{0, 1})};
  simt::set_free_memory(free_memory);
  std::vector<std::int64_t> counts;
  for (int i = 0; i < 3; ++i) {
    simt::begin_counting();
    step.run(inputs, 0.01);
    counts.push_back(0);
    for (const simt::KernelCounts& kernel : simt::end_counting())
      if (kernel.kernel == "batch_norm_apply") counts.back() += kernel.launches;
  }
  simt::set_free_memory(0);
  return counts;
}

}  // namespace

TEST_CASE("simt training: from the second step on what fits into memory is kept, and not computed again") {
  if (test::device_under_test() != Device::simt) return;
  // A stem and three blocks of two convolutions, of which two have a third in their shortcut. What the stem and each
  // block's first convolution are normalised to is read by a convolution.
  constexpr std::int64_t kNorms = 9, kAgain = 4;
  CHECK(normalisations(0) == std::vector<std::int64_t>(3, kNorms + kAgain));
  CHECK(normalisations(1000) == std::vector<std::int64_t>(3, kNorms + kAgain));
  CHECK(normalisations(1 << 30) == std::vector<std::int64_t>{kNorms + kAgain, kNorms, kNorms});
}

TEST_CASE("simt training: what is kept and what is computed again are the same bits") {
  if (test::device_under_test() != Device::simt) return;
  for (const bool capture : {false, true}) {
    CAPTURE(capture);
    const Trained& again = trained(capture);
    simt::set_free_memory(1 << 30);
    const Trained kept = train(capture, 1);
    simt::set_free_memory(0);
    CHECK(kept.seen == again.seen);
    CHECK(kept.weights == again.weights);
    CHECK(kept.replays == again.replays);
  }
}

TEST_CASE("simt training: with every loss a graph follows a schedule, and training is the CPU's") {
  for (const SoftLoss loss : test::soft_losses())
    for (const bool standardize : {false, true}) {
      CAPTURE(static_cast<int>(loss));
      CAPTURE(standardize);
      const Device device = test::device_under_test();
      const std::vector<double> captured = scheduled_steps(device, true, loss, standardize);
      CHECK(captured == scheduled_steps(device, false, loss, standardize));
      const std::vector<double> cpu = scheduled_steps(Device::cpu, false, loss, standardize);
      // Six steps round in float here and there; losses are below 200, and a step multiplies what was lost by little.
      CHECK(test::worst(captured, cpu, [&](std::size_t i) { return 1e-4 * (1 + std::fabs(cpu[i])); }) <= 1);
    }
}

TEST_CASE("simt training: steps of rows with and without a label follow a schedule in a graph, as on the CPU") {
  for (const SoftLoss loss : test::soft_losses(/*without_labels=*/true)) {
    CAPTURE(static_cast<int>(loss));
    const Device device = test::device_under_test();
    const std::vector<double> captured = scheduled_steps(device, true, loss, false, 1);
    CHECK(captured == scheduled_steps(device, false, loss, false, 1));
    const std::vector<double> cpu = scheduled_steps(Device::cpu, false, loss, false, 1);
    CHECK(test::worst(captured, cpu, [&](std::size_t i) { return 1e-4 * (1 + std::fabs(cpu[i])); }) <= 1);
    CHECK(captured != scheduled_steps(device, true, loss, false, 2));
  }
}

TEST_CASE("simt training: steps replayed from a graph give the bits of steps run one by one, in one part and in two") {
  for (const std::int64_t parts : {1, 2}) {
    CAPTURE(parts);
    const Trained &eager = trained(false, parts), &captured = trained(true, parts);
    CHECK(eager.replays == 0);
    CHECK(captured.replays == static_cast<std::int64_t>(steps()) - 2);
    CHECK(captured.seen == eager.seen);
    // Running statistics and batch counters too.
    CHECK(captured.weights == eager.weights);
  }
}

TEST_CASE("simt training: a graph refuses what would wait for the device") {
  if (test::device_under_test() != Device::simt) return;
  const Tensor x = Tensor::full({4}, 2, DType::f32, Device::simt);
  Graph graph(Device::simt);
  CHECK_THROWS_WITH(graph.capture([&] { x.to(Device::cpu); }),
                    "download: asked for while a graph is captured; do it before or after");
  CHECK_FALSE(graph.captured());
  Tensor y;
  graph.capture([&] { y = scale(x, 3); });
  graph.replay();
  CHECK(on_host(y) == std::vector<double>{6, 6, 6, 6});
}

TEST_CASE("simt training: a distillation step of small networks is as near the double reference as the CPU's") {
  for (const auto& [architecture, size] : {std::pair<std::string, std::int64_t>{"resnet20", 16}, {"vgg8", 32}}) {
    const ModelSpec spec = spec_of(architecture, size, 5);
    CAPTURE(spec.architecture);
    const Step reference = distillation_step(spec, 3, {Device::cpu, DType::f64});
    const Step cpu = distillation_step(spec, 3, {Device::cpu, DType::f32});
    const Step device = distillation_step(spec, 3, {test::device_under_test(), DType::f32});
    // Both round every product of the network once or more; only the order of sums differs. Four times allows for luck.
    CHECK_FALSE(!(std::fabs(device.loss - reference.loss) <=
                  4 * std::fabs(cpu.loss - reference.loss) + 64 * test::epsilon32 * reference.loss));
    CHECK_FALSE(!(distance(device, reference) <= 4 * distance(cpu, reference) + 64 * test::epsilon32));
  }
}

TEST_CASE("simt training: a step in bf16 is near the one in f32") {
  const ModelSpec spec = spec_of("resnet20", 16, 5);
  const Step exact = distillation_step(spec, 4, {Device::cpu, DType::f32});
  for (const int capability : {80, 90}) {
    CAPTURE(capability);
    simt::set_compute_capability(capability);
    const Step mixed = distillation_step(spec, 4, {test::device_under_test(), DType::bf16});
    simt::set_compute_capability(80);
    MESSAGE("loss ", mixed.loss, " against ", exact.loss, ", gradients off by ", distance(mixed, exact));
    // 20 layers of batch norm on few pixels multiply roundings: PyTorch's autocast to bf16 on this network, images of
    // this size and batches of 4 is off by 0.28 to 0.31 (four seeds).
    CHECK_FALSE(!(std::fabs(mixed.loss - exact.loss) <= 0.025 * exact.loss));
    CHECK_FALSE(!(distance(mixed, exact) <= 0.45));
  }
}

TEST_CASE("simt training: a distillation step of a tiny InceptionV3 equals the CPU's") {
  if (!test::at_length()) {
    MESSAGE("left out: a minute and more in the simulator; RETORT_TEST_THOROUGH=1 runs it");
    return;
  }
  const ModelSpec spec = spec_of("inception_v3", 75, 4);
  const Step reference = distillation_step(spec, 4, {Device::cpu, DType::f64});
  const Step cpu = distillation_step(spec, 4, {Device::cpu, DType::f32});
  const Step device = distillation_step(spec, 4, {test::device_under_test(), DType::f32});
  MESSAGE("loss ", device.loss, ", the CPU's ", cpu.loss, ", in double ", reference.loss, "; gradients off by ",
          distance(device, reference), ", the CPU's by ", distance(cpu, reference));
  // Its last maps are single pixels: batch norm over the four images multiplies each rounding by thousands, the CPU's
  // too. The device adds up to 2048 products in one f32 chain where the CPU adds in 16 or more, so it may err more.
  CHECK_FALSE(
      !(std::fabs(device.loss - reference.loss) <= 16 * std::fabs(cpu.loss - reference.loss) + 1e-4 * reference.loss));
  CHECK_FALSE(!(distance(device, reference) <= 16 * distance(cpu, reference)));
}

}  // namespace retort
