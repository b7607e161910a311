// retort bench step: a whole training step (forward, loss, backward, SGD) or a forward pass in evaluation mode, on
// random images.
#include <sys/resource.h>

#include <algorithm>

#include "engine/core/arena.h"
#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/core/tape.h"
#include "engine/nn/optimizer.h"
#include "engine/ops/dropout.h"
#include "engine/ops/loss.h"
#include "tools/bench.h"
#include "tools/progress.h"
#include "tools/stock_model.h"

namespace retort {
namespace {

constexpr double kLearningRate = 1e-4;  // small: the weights stay what they are, in size

struct Options : BenchOptions {
  std::string model, mode = "train", precision = "fp32";
  std::int64_t image_size = 0, batch_size = 8;
};

/// The work that a step cannot avoid.
struct Work {
  double flops = 0;  ///< multiply-adds twice: one forward pass; in training the two gradients of each layer too
  double bytes =
      0;  ///< each layer's output written and read; in training its gradient too; parameters read (and moved)
};

Work work_of(const Model& model, const Tensor& x, bool train) {
  std::vector<LayerReport> layers;
  double parameter_bytes = 0;
  for (const Parameter* parameter : parameters(*model.network))
    if (!parameter->buffer) parameter_bytes += static_cast<double>(parameter->value.bytes());
  {
    const NoGrad no_grad;
    ForwardContext context;
    context.report = &layers;
    model.network->forward(x, context);
  }
  Work work;
  double first_macs = 0;  // the images' own gradient is not needed
  for (const LayerReport& layer : layers) {
    if (first_macs == 0) first_macs = static_cast<double>(layer.macs);
    work.flops += 2.0 * static_cast<double>(layer.macs);
    work.bytes += 2.0 * sizeof(float) * static_cast<double>(layer.output.count());
  }
  if (train) {
    work.flops = 3 * work.flops - 2 * first_macs;
    work.bytes *= 3;           // outputs are read again, and their gradients written and read
    parameter_bytes *= 2 + 5;  // read twice; gradient written; the optimizer reads three and writes two
  }
  work.bytes += parameter_bytes;
  return work;
}

std::size_t peak_process_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

void run(const Options& options) {
  apply_common_options(options.common);
  if (options.precision == "bf16") throw UsageError("--precision: bf16 needs the cuda backend; use fp32 on the CPU");
  if (!is_architecture(options.model))
    throw UsageError(text("--model: '", options.model, "' is no architecture; give one such as resnet50"));
  catch_interrupts();
  const std::vector<Backend> backends = chosen_backends(options);
  const bool train = options.mode == "train";
  const Model model = stock_model(options.model, options.image_size, options.common.seed);
  const Preprocessing& input = model.spec.preprocessing;
  Tensor x = Tensor::empty({options.batch_size, input.image_size, input.image_size, input.channels});
  fill_normal(x, 0, 1, Random::of(options.common.seed, "bench"));
  Targets targets;
  targets.labels = Tensor::empty({options.batch_size}, DType::i64);
  for (std::int64_t i = 0; i < options.batch_size; ++i)
    targets.labels.data<std::int64_t>()[i] = i % static_cast<std::int64_t>(model.spec.classes.size());
  const Work work = work_of(model, x, train);

  Optimizer optimizer(parameters(*model.network), {});
  std::uint64_t step = 0;
  const auto train_step = [&] {
    Tape tape;
    ForwardContext context;
    context.training = true;
    context.dropout_key = dropout_key(options.common.seed, step++ << 16);
    const Tensor loss = cross_entropy(model.network->forward(x, context), targets);
    tape.backward(loss);
    optimizer.step(kLearningRate);
  };
  const auto infer = [&] {
    const NoGrad no_grad;
    ForwardContext context;
    model.network->forward(x, context);
  };

  std::vector<std::size_t> peaks(backends.size(), 0);
  std::vector<std::function<void()>> candidates;
  for (std::size_t i = 0; i < backends.size(); ++i)
    candidates.push_back([&, i] {
      const ScopedKernels scoped(DType::f32, *backends[i].table);
      cpu_arena().reset_peak();
      train ? train_step() : infer();
      peaks[i] = std::max(peaks[i], cpu_arena().statistics().peak_bytes);
    });
  const std::vector<Timing> timings = measure(candidates, options.repeats);
  std::vector<BenchResult> results;
  for (std::size_t i = 0; i < backends.size(); ++i)
    results.push_back({.name = text("step.", options.mode),
                       .backend = backends[i].name,
                       .shape = text(options.model, " size", input.image_size, " batch", options.batch_size),
                       .seconds = timings[i].seconds,
                       .spread = timings[i].spread,
                       .flops = work.flops,
                       .bytes = work.bytes,
                       .images = static_cast<double>(options.batch_size),
                       .peak_process_bytes = peak_process_bytes(),
                       .peak_arena_bytes = peaks[i]});
  print_results(options, results, /*totals=*/false);
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  auto options = std::make_shared<Options>();
  options->repeats = 5;
  CLI::App* command = bench.add_subcommand("step", "A training step, or a forward pass, of a whole network");
  add_bench_options(*command, *options);
  command->add_option("--model", options->model, "Architecture")->required();
  command->add_option("--image-size", options->image_size, "Width and height (default: the network's own)")
      ->check(whole_number(1));
  command->add_option("--batch-size", options->batch_size, "Images a step")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--mode", options->mode, "train (forward, loss, backward, SGD) or infer")
      ->check(CLI::IsMember({"train", "infer"}))
      ->capture_default_str();
  command->add_option("--precision", options->precision, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace retort
