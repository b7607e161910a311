// retort bench gemm: C[m, n] = A[m, k] B[k, n].
#include "engine/core/check.h"
#include "engine/core/kernels.h"
#include "engine/core/random.h"
#include "tests/cases/gemm_shapes.h"
#include "tools/bench/bench.h"
#include "tools/bench/limits.h"
#include "tools/bench/right.h"
#include "tools/cli/progress.h"

namespace retort {
namespace {

struct BenchGemmOptions : BenchOptions {
  GemmGeometry geometry{.m = 1024, .n = 1024, .k = 1024};
  bool cases = false;
};

template <class Visitor>
void visit_flags(BenchGemmOptions& o, Visitor&& flag) {
  visit_flags(static_cast<BenchOptions&>(o), flag);
  flag("--m", o.geometry.m, "Rows of A and C", whole_number(1));
  flag("--n", o.geometry.n, "Columns of B and C", whole_number(1));
  flag("--k", o.geometry.k, "Columns of A, rows of B", whole_number(1));
  flag("--cases", o.cases, "The products of the tests", anything());
  visit_counters(o, flag);
}

std::vector<BenchResult> measure_gemm(const GemmGeometry& g, const std::vector<Backend>& backends,
                                      const BenchGemmOptions& options) {
  std::vector<Candidate> candidates;
  std::vector<BenchResult> results;
  for (const Backend& backend : backends) {
    const GemmKernels& kernel = backend.table->gemm;
    const auto workspace = std::make_shared<Workspace>(kernel.workspace_bytes(g), backend.device);
    const double bytes =
        static_cast<double>(g.m * g.k + g.k * g.n + g.m * g.n) * static_cast<double>(size_of(backend.dtype));
    candidates.push_back(in_rotation(backend.device, bytes, [&] {
      const Tensor a =
          random_tensor({g.m, g.k}, backend.dtype, backend.device, 1, Random::of(options.common.seed, "bench", 0));
      const Tensor b =
          random_tensor({g.k, g.n}, backend.dtype, backend.device, 1, Random::of(options.common.seed, "bench", 1));
      const Tensor c = Tensor::empty_like(a, {g.m, g.n});
      return [=, &kernel, &g] { kernel.run({}, g, a.raw(), b.raw(), nullptr, false, c.raw(), workspace->data()); };
    }));
    candidates.back().error = [=, seed = options.common.seed] { return gemm_error(g, backend, seed); };
    results.push_back({.name = "gemm",
                       .backend = backend,
                       .shape = text("m", g.m, " n", g.n, " k", g.k),
                       .flops = 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k),
                       .bytes = bytes});
  }
  measure(candidates, options, results);
  return results;
}

void run_bench_gemm(const BenchGemmOptions& options) {
  apply_common_options(options.common);
  catch_interrupts();
  std::vector<GemmGeometry> shapes = {options.geometry};
  if (options.cases) {
    shapes.clear();
    for (const test::GemmShape& shape : test::kGemmShapes) shapes.push_back({shape.m, shape.n, shape.k});
    for (const test::GemmShape& shape : test::kGemmBlocks) shapes.push_back({shape.m, shape.n, shape.k});
  }
  print_results(options, measure_each(shapes, options, Subject::gemm, measure_gemm), /*totals=*/false);
}

}  // namespace

void add_bench_gemm(CLI::App& bench) {
  add_command<BenchGemmOptions>(bench, "gemm", "A matrix product", run_bench_gemm);
}

}  // namespace retort
