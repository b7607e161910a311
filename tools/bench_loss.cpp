// retort bench loss: the distillation loss and its gradient in one pass, and cross-entropy beside it.
#include <cmath>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "tools/bench.h"
#include "tools/progress.h"

namespace retort {
namespace {

// Per logit: a maximum, a scaling, an exponential and a sum for each softmax (one under cross-entropy, three under
// distillation), and the gradient's few terms. An exponential counts one.
constexpr double kCrossEntropyFlops = 4 + 3, kDistillationFlops = 3 * 4 + 6;

struct Options : BenchOptions {
  std::int64_t rows = 256, classes = 1000;
  double temperature = 4;
};

void run(const Options& options) {
  apply_common_options(options.common);
  if (!(options.temperature > 0) || !std::isfinite(options.temperature))
    throw UsageError(text("--temperature: ", options.temperature, " is not allowed; give a number above 0"));
  catch_interrupts();
  const std::vector<Backend> backends = chosen_backends(options);
  const Rows rows{options.rows, options.classes};
  Tensor z = Tensor::empty({rows.rows, rows.classes}), v = Tensor::empty(z.shape());
  const Tensor dz = Tensor::empty(z.shape()), loss = Tensor::empty({3});
  fill_normal(z, 0, 3, Random::of(options.common.seed, "bench", 0));
  fill_normal(v, 0, 3, Random::of(options.common.seed, "bench", 1));
  const Tensor labels = Tensor::empty({rows.rows}, DType::i64);
  for (std::int64_t i = 0; i < rows.rows; ++i) labels.data<std::int64_t>()[i] = i % rows.classes;
  const HardTargets targets{.labels = labels.data<std::int64_t>()};
  const DistillationSettings settings{.temperature = options.temperature, .lambda = 0.1};

  std::vector<std::function<void()>> candidates;
  std::vector<BenchResult> results;
  const auto elements = static_cast<double>(z.count());
  for (const Backend& backend : backends) {
    const LossKernels& kernel = backend.table->loss;
    const auto workspace = std::make_shared<Workspace>(kernel.workspace_bytes(rows));
    const std::string shape = text("rows", rows.rows, " classes", rows.classes);
    candidates.push_back([=, &kernel] {
      kernel.distillation({}, rows, settings, targets, z.raw(), v.raw(), loss.raw(), dz.raw(), workspace->data());
    });
    results.push_back({.name = "loss.distillation",
                       .backend = backend.name,
                       .shape = shape,
                       .flops = kDistillationFlops * elements,
                       .bytes = static_cast<double>(z.bytes() + v.bytes() + dz.bytes() + labels.bytes())});
    candidates.push_back(
        [=, &kernel] { kernel.cross_entropy({}, rows, targets, z.raw(), loss.raw(), dz.raw(), workspace->data()); });
    results.push_back({.name = "loss.cross_entropy",
                       .backend = backend.name,
                       .shape = shape,
                       .flops = kCrossEntropyFlops * elements,
                       .bytes = static_cast<double>(z.bytes() + dz.bytes() + labels.bytes())});
  }
  const std::vector<Timing> timings = measure(candidates, options.repeats);
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].seconds = timings[i].seconds;
    results[i].spread = timings[i].spread;
  }
  print_results(options, results, /*totals=*/false);
}

}  // namespace

void add_bench_loss(CLI::App& bench) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand("loss", "The distillation loss with its gradient, and cross-entropy");
  add_bench_options(*command, *options);
  command->add_option("--rows", options->rows, "Batch size")->check(whole_number(1))->capture_default_str();
  command->add_option("--classes", options->classes, "Logits a row")->check(whole_number(1))->capture_default_str();
  command->add_option("--temperature", options->temperature, "T of the soft targets")->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace retort
