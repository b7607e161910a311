// retort bench softmax: softmax over rows, and its gradient.

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "tools/bench/limits.h"
#include "tools/bench/right.h"
#include "tools/bench/rows.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

// Per element: a maximum, a scaling, an exponential (counted one), a sum and a quotient; the gradient's product and
// sum, and its three terms.
constexpr double kForwardFlops = 5, kBackwardFlops = 5;

struct BenchSoftmaxOptions : RowsOptions {
  double temperature = 1;
};

template <class Visitor>
void visit_flags(BenchSoftmaxOptions& o, Visitor&& flag) {
  visit_flags(static_cast<BenchOptions&>(o), flag);
  flag("--rows", o.rows, "Rows", whole_number(1));
  flag("--classes", o.classes, "Elements a row", whole_number(1));
  flag("--temperature", o.temperature, "T", number_above(0));
  flag("--cases", o.cases, "The rows of the tests", anything());
  visit_counters(o, flag);
}

std::vector<BenchResult> measure_softmax(Rows rows, const std::vector<Backend>& backends,
                                         const BenchSoftmaxOptions& options) {
  const double temperature = options.temperature;

  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  const double elements = static_cast<double>(rows.rows) * static_cast<double>(rows.classes);
  for (const Backend& backend : backends) {
    const SoftmaxKernels& kernel = backend.table->softmax;
    const auto error = [=, seed = options.common.seed](bool backward) {
      return [=] { return softmax_error(rows, temperature, backward, backend, seed); };
    };
    const auto drawn = [&](std::uint64_t index) {
      return random_tensor({rows.rows, rows.classes}, backend.dtype, backend.device, kLogitDeviation,
                           Random::of(options.common.seed, "bench", index));
    };
    const auto add = [&](const char* name, double flops, double tensors, const std::function<double()>& error,
                         const std::function<std::function<void()>()>& make) {
      const double bytes = tensors * elements * static_cast<double>(size_of(backend.dtype));
      candidates.push_back(in_rotation(backend.device, bytes, make));
      candidates.back().error = error;
      results.push_back({.name = name,
                         .backend = backend,
                         .shape = text("rows", rows.rows, " classes", rows.classes),
                         .flops = flops * elements,
                         .bytes = bytes});
    };
    add("softmax.forward", kForwardFlops, 2, error(false), [&] {
      const Tensor x = drawn(0), y = Tensor::empty_like(x, x.shape());
      return [=, &kernel] { kernel.forward({}, rows, temperature, x.raw(), y.raw()); };
    });
    add("softmax.backward", kBackwardFlops, 3, error(true), [&] {
      const Tensor x = drawn(0), y = Tensor::empty_like(x, x.shape()), dy = drawn(1),
                   dx = Tensor::empty_like(y, y.shape());
      kernel.forward({}, rows, temperature, x.raw(), y.raw());
      return [=, &kernel] { kernel.backward({}, rows, temperature, y.raw(), dy.raw(), dx.raw()); };
    });
  }
  measure(candidates, options, results);
  return results;
}

void run_bench_softmax(const BenchSoftmaxOptions& options) {
  apply_common_options(options.common);
  catch_interrupts();
  print_results(options, measure_each(shapes_of(options), options, Subject::softmax, measure_softmax),
                /*totals=*/false);
}

}  // namespace

void add_bench_softmax(CLI::App& bench) {
  add_command<BenchSoftmaxOptions>(bench, "softmax", "Softmax over rows, and its gradient", run_bench_softmax);
}

}  // namespace retort
