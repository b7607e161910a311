// retort bench step: a whole training step (forward, loss, backward, SGD) or a forward pass in evaluation mode, on
// random images.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

#include "engine/core/arena.h"
#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/random.h"
#include "engine/core/tape.h"
#include "engine/distill/training_step.h"
#include "engine/nn/optimizer.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "tools/bench/bench.h"
#include "tools/bench/limits.h"
#include "tools/cli/progress.h"
#include "tools/run/kernel_choice.h"
#include "tools/run/kernel_counts.h"
#include "tools/run/stock_model.h"

namespace retort {
namespace {

constexpr double kLearningRate = 1e-4;  // small: the weights stay what they are, in size

enum class Mode : std::uint8_t { train, infer };
constexpr Word<Mode> kModes[] = {{Mode::train, "train"}, {Mode::infer, "infer"}};

constexpr Word<int> kCapabilities[] = {{80, "80"}, {90, "90"}};

struct BenchStepOptions : BenchOptions {
  std::string model;
  Mode mode = Mode::train;
  std::optional<std::int64_t> image_size;  ///< none: the network's own
  std::int64_t batch_size = 8;
  std::vector<std::string> kernels;
  std::string counters_file;
  std::int64_t sample = 0;
  int compute_capability = 80;
};

template <class Visitor>
void visit_flags(BenchStepOptions& o, Visitor&& flag) {
  visit_flags(static_cast<BenchOptions&>(o), flag);
  flag("--model", o.model, "Architecture, or a model's file", required(anything()));
  flag("--image-size", o.image_size, "Width and height (default: the network's own)", whole_number(1, kMaxImageSize));
  flag("--batch-size", o.batch_size, "Images a step", whole_number(1));
  flag("--mode", o.mode, "{}: train is forward, loss, backward, SGD", one_of(kModes));
  flag("--kernel", o.kernels, text(kKernelHelp, "; the first backend with these is measured, too"), anything());
  flag("--counters", o.counters_file, kCountersHelp, file_name(".json"));
  flag("--sample", o.sample,
       "Blocks of each launch that run, for all of which --counters counts: a step of any size in minutes, nothing "
       "measured (0: all)",
       whole_number(0));
  flag("--compute-capability", o.compute_capability, "With --sample: {}, which kernels are chosen",
       one_of(kCapabilities));
}

/// The work that a step cannot avoid.
struct Work {
  double flops = 0;  ///< multiply-adds twice: one forward pass; in training the two gradients of each layer too
  /// each layer's output written and read; in training its gradient too; parameters read (and moved)
  double bytes = 0;
};

Work work_of(const BenchStepOptions& options, DType activations) {
  Arena arena;  // this pass's memory is not the measured steps'
  const ArenaScope scope(Device::cpu, arena);
  const Model model = stock_or_saved_model(options.model, options.image_size.value_or(0), options.common);
  const Preprocessing& input = model.spec.preprocessing;
  std::vector<LayerReport> layers;
  double parameter_bytes = 0;
  for (const Parameter* parameter : parameters(*model.network))
    if (!parameter->buffer) parameter_bytes += static_cast<double>(parameter->value.bytes());
  {
    const NoGrad no_grad;
    ForwardContext context;
    context.report = &layers;
    model.network->forward(Tensor::zeros({1, input.image_size, input.image_size, input.channels}), context);
  }
  Work work;
  double first_macs = 0;  // the images' own gradient is not needed
  for (const LayerReport& layer : layers) {
    if (first_macs == 0) first_macs = static_cast<double>(layer.macs);
    work.flops += 2.0 * static_cast<double>(layer.macs);
    work.bytes += 2.0 * static_cast<double>(size_of(activations)) * static_cast<double>(layer.output.count());
  }
  if (options.mode == Mode::train) {
    work.flops = 3 * work.flops - 2 * first_macs;
    work.bytes *= 3;           // outputs are read again, and their gradients written and read
    parameter_bytes *= 2 + 5;  // read twice; gradient written; the optimizer reads three and writes two
  }
  const auto batch = static_cast<double>(options.batch_size);
  return {batch * work.flops, batch * work.bytes + parameter_bytes};
}

std::size_t peak_process_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

/// A network of a backend's own, and the images it sees, on the backend's device.
class Steps {
 public:
  Steps(const BenchStepOptions& options, const Backend& backend)
      : backend_(backend),
        seed_(options.common.seed),
        arena_(options.sample > 0              ? nullptr
               : backend.device == Device::cpu ? std::make_unique<Arena>()
                                               : std::make_unique<Arena>(backend.device)) {
    const auto scope = own_memory();
    model_ = stock_or_saved_model(options.model, options.image_size.value_or(0), options.common);
    to_device(*model_.network, backend.device);
    const Preprocessing& input = model_.spec.preprocessing;
    inputs_.x = random_tensor({options.batch_size, input.image_size, input.image_size, input.channels}, DType::f32,
                              backend.device, 1, Random::of(seed_, "bench"));
    Tensor labels = Tensor::empty({options.batch_size}, DType::i64);
    for (std::int64_t i = 0; i < options.batch_size; ++i)
      labels.data<std::int64_t>()[i] = i % static_cast<std::int64_t>(model_.spec.classes.size());
    inputs_.labels = labels.to(backend.device);
    if (options.mode == Mode::infer) return;
    optimizer_.emplace(parameters(*model_.network), OptimizerSettings{});
    StepSettings settings;
    settings.precision = backend.dtype;
    settings.capture = backend.device == Device::cuda;
    step_.emplace(*model_.network, *optimizer_, settings);
  }

  void train() {
    const ScopedKernels kernels(backend_.dtype, *backend_.table, backend_.device);
    const auto scope = own_memory();
    inputs_.dropout_key = dropout_key(seed_, number_++ << 16);
    step_->run(inputs_, kLearningRate);
  }
  void infer() {
    const ScopedKernels kernels(backend_.dtype, *backend_.table, backend_.device);
    const auto scope = own_memory();
    const NoGrad no_grad;
    ForwardContext context;
    context.filters = &filters_;
    model_.network->forward(cast(inputs_.x, backend_.dtype), context);
  }
  std::int64_t image_size() const { return model_.spec.preprocessing.image_size; }
  /// Of network, images and a step that is not replayed.
  std::size_t peak_bytes() const { return arena_->statistics().peak_bytes; }

 private:
  std::unique_ptr<ArenaScope> own_memory() const {
    return arena_ ? std::make_unique<ArenaScope>(backend_.device, *arena_) : nullptr;
  }

  Backend backend_;
  std::uint64_t seed_, number_ = 0;
  std::unique_ptr<Arena> arena_;  ///< null: each tensor is a buffer of the simulator's, whose sectors are counted apart
  Model model_;
  StepInputs inputs_;
  std::optional<Optimizer> optimizer_;
  std::optional<TrainingStep> step_;
  PreparedFilters filters_;  ///< of passes without training
};

/// Refuses what a sample has nothing to say of.
void check_sample(const BenchStepOptions& options, const std::vector<Backend>& backends) {
  if (options.sample == 0) {
    if (options.compute_capability != BenchStepOptions().compute_capability)
      throw UsageError("--compute-capability: is of the device that --sample counts for; give --sample N");
    return;
  }
  if (options.counters_file.empty()) throw UsageError("--sample: is for counting; give --counters FILE.json");
  if (backends.size() != 1) throw UsageError("--sample: counts for one backend; give --backend simt alone");
}

/// Counts a step of which some blocks of each launch run.
void count_sample(const BenchStepOptions& options, const Backend& backend) {
  check_counters(options.counters_file, backend.device);
  sample_launches(options.sample, options.compute_capability);
  Steps steps(options, backend);
  const auto step = [&] { options.mode == Mode::train ? steps.train() : steps.infer(); };
  step();  // the first one finds out what the others keep
  CountedRun counted(options.counters_file, Device::simt);
  step();
  counted.write();
}

void run_bench_step(const BenchStepOptions& options) {
  apply_common_options(options.common);
  if (!is_architecture(options.model) && !std::filesystem::exists(options.model))
    throw UsageError(text("--model: ", no_architecture(options.model), ", and no such file"));
  catch_interrupts();
  std::vector<Backend> backends = chosen_backends(options, Subject::step);
  check_sample(options, backends);
  std::optional<KernelTable> chosen;
  if (!options.kernels.empty()) {
    Backend with = backends.front();
    chosen = with_kernels(with, options.kernels);
    for (const std::string& kernel : options.kernels) with.name += text("+", kernel);
    with.table = &*chosen;
    backends.push_back(with);
  }
  if (options.sample > 0) return count_sample(options, backends.back());
  std::vector<std::unique_ptr<Steps>> steps;
  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  for (const Backend& backend : backends) {
    Steps& own = *steps.emplace_back(std::make_unique<Steps>(options, backend));
    candidates.push_back(
        {[&own, train = options.mode == Mode::train] { train ? own.train() : own.infer(); }, backend.device});
    const Work work = work_of(options, backend.dtype);
    results.push_back({.name = text("step.", one_of(kModes).word_of(options.mode)),
                       .backend = backend,
                       .shape = text(options.model, " size", own.image_size(), " batch", options.batch_size),
                       .flops = work.flops,
                       .bytes = work.bytes,
                       .images = static_cast<double>(options.batch_size)});
  }
  const auto simulated = std::find_if(candidates.begin(), candidates.end(),
                                      [](const Candidate& one) { return one.device == Device::simt; });
  check_counters(options.counters_file, simulated == candidates.end() ? Device::cpu : Device::simt);
  measure(candidates, options, results);
  if (!options.counters_file.empty()) {
    CountedRun counted(options.counters_file, Device::simt);
    simulated->call();  // one step more
    counted.write();
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].peak_process_bytes = peak_process_bytes();
    results[i].peak_arena_bytes = steps[i]->peak_bytes();
  }
  print_results(options, results, /*totals=*/false);
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  BenchStepOptions defaults;
  defaults.repeats = 5;
  add_command<BenchStepOptions>(bench, "step", "A training step, or a forward pass, of a whole network", run_bench_step,
                                defaults);
}

}  // namespace retort
