// retort bench loss: a distillation loss with its gradient; beside plain kd, cross-entropy.

#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/random.h"
#include "engine/distill/objective.h"
#include "tools/bench/limits.h"
#include "tools/bench/right.h"
#include "tools/bench/rows.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

constexpr double kCrossEntropyFlops = 4 + 3;  // a logit: one softmax, counted as SoftLossRow::flops counts

struct BenchLossOptions : RowsOptions {
  double temperature = 4;
  SoftLoss loss = SoftLoss::kd;
};

template <class Visitor>
void visit_flags(BenchLossOptions& o, Visitor&& flag) {
  visit_flags(static_cast<BenchOptions&>(o), flag);
  flag("--rows", o.rows, "Batch size", whole_number(1));
  flag("--classes", o.classes, "Logits a row", whole_number(1));
  flag("--temperature", o.temperature, "T of the soft targets", number_above(0));
  flag("--loss", o.loss, "{}; beside kd, cross-entropy", one_of(kSoftLosses));
  flag("--cases", o.cases, "The rows of the tests", anything());
  visit_counters(o, flag);
}

std::vector<BenchResult> measure_loss(Rows rows, const std::vector<Backend>& backends,
                                      const BenchLossOptions& options) {
  const DistillationSettings settings{.temperature = options.temperature, .lambda = 0.1, .loss = options.loss};
  const bool plain = settings.loss == SoftLoss::kd;
  Tensor labels = Tensor::empty({rows.rows}, DType::i64);
  for (std::int64_t i = 0; i < rows.rows; ++i) labels.data<std::int64_t>()[i] = i % rows.classes;

  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  const double elements = static_cast<double>(rows.rows) * static_cast<double>(rows.classes);
  for (const Backend& backend : backends) {
    if (!plain && backend.name.find(":loss.") != std::string::npos)
      throw UsageError(text("--backend: ", backend.name, ": a step of the ladder is of kd alone; leave out --loss"));
    const LossKernels& kernel = backend.table->loss;
    const auto workspace = std::make_shared<Workspace>(kernel.workspace_bytes(rows), backend.device);
    const Tensor targets = labels.to(backend.device);
    const auto logits = [&](std::uint64_t index) {
      return random_tensor({rows.rows, rows.classes}, backend.dtype, backend.device, kLogitDeviation,
                           Random::of(options.common.seed, "bench", index));
    };
    const auto add = [&](const std::string& name, double flops, double tensors, const std::function<double()>& error,
                         const std::function<std::function<void()>()>& make) {
      const double bytes =
          tensors * elements * static_cast<double>(size_of(backend.dtype)) + static_cast<double>(labels.bytes());
      candidates.push_back(in_rotation(backend.device, bytes, make));
      candidates.back().error = error;
      results.push_back({.name = name,
                         .backend = backend,
                         .shape = text("rows", rows.rows, " classes", rows.classes),
                         .flops = flops * elements,
                         .bytes = bytes});
    };
    const DType parameters = parameter_dtype(backend.dtype);
    add(
        plain ? "loss.distillation" : text("loss.", row_of(options.loss).word), row_of(settings.loss).flops, 3,
        [=, seed = options.common.seed] { return distillation_error(rows, settings, backend, seed); },
        [&] {
          const Tensor z = logits(0), v = logits(1), dz = Tensor::empty_like(z, z.shape()),
                       loss = Tensor::empty({3}, parameters, backend.device);
          return [=, &kernel] {
            const HardTargets hard{.labels = static_cast<const std::int64_t*>(targets.raw())};
            kernel.distillation({}, rows, settings, hard, z.raw(), v.raw(), loss.raw(), dz.raw(), workspace->data());
          };
        });
    if (!plain) continue;
    add(
        "loss.cross_entropy", kCrossEntropyFlops, 2,
        [=, seed = options.common.seed] { return cross_entropy_error(rows, backend, seed); },
        [&] {
          const Tensor z = logits(0), dz = Tensor::empty_like(z, z.shape()),
                       loss = Tensor::empty({1}, parameters, backend.device);
          return [=, &kernel] {
            const HardTargets hard{.labels = static_cast<const std::int64_t*>(targets.raw())};
            kernel.cross_entropy({}, rows, hard, z.raw(), loss.raw(), dz.raw(), workspace->data());
          };
        });
  }
  measure(candidates, options, results);
  return results;
}

void run_bench_loss(const BenchLossOptions& options) {
  apply_common_options(options.common);
  catch_interrupts();
  print_results(options, measure_each(shapes_of(options), options, Subject::loss, measure_loss), /*totals=*/false);
}

}  // namespace

void add_bench_loss(CLI::App& bench) {
  add_command<BenchLossOptions>(bench, "loss", "A distillation loss with its gradient", run_bench_loss);
}

}  // namespace retort
