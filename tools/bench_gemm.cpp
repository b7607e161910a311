// retort bench gemm: C[m, n] = A[m, k] B[k, n].
#include "engine/core/check.h"
#include "engine/core/random.h"
#include "tools/bench.h"
#include "tools/progress.h"

namespace retort {
namespace {

struct Options : BenchOptions {
  GemmGeometry geometry{.m = 1024, .n = 1024, .k = 1024};
};

void run(const Options& options) {
  apply_common_options(options.common);
  catch_interrupts();
  const std::vector<Backend> backends = chosen_backends(options);
  const GemmGeometry& g = options.geometry;
  Tensor a = Tensor::empty({g.m, g.k}), b = Tensor::empty({g.k, g.n});
  const Tensor c = Tensor::empty({g.m, g.n});
  fill_uniform(a, -1, 1, Random::of(options.common.seed, "bench", 0));
  fill_uniform(b, -1, 1, Random::of(options.common.seed, "bench", 1));

  std::vector<std::function<void()>> candidates;
  std::vector<std::unique_ptr<Workspace>> workspaces;
  for (const Backend& backend : backends) {
    const GemmKernels& kernel = backend.table->gemm;
    workspaces.push_back(std::make_unique<Workspace>(kernel.workspace_bytes(g)));
    void* workspace = workspaces.back()->data();
    candidates.push_back([=, &kernel] { kernel.run({}, g, a.raw(), b.raw(), nullptr, false, c.raw(), workspace); });
  }
  const std::vector<Timing> timings = measure(candidates, options.repeats);
  std::vector<BenchResult> results;
  for (std::size_t i = 0; i < backends.size(); ++i)
    results.push_back({.name = "gemm",
                       .backend = backends[i].name,
                       .shape = text("m", g.m, " n", g.n, " k", g.k),
                       .seconds = timings[i].seconds,
                       .spread = timings[i].spread,
                       .flops = 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k),
                       .bytes = static_cast<double>(a.bytes() + b.bytes() + c.bytes())});
  print_results(options, results, /*totals=*/false);
}

}  // namespace

void add_bench_gemm(CLI::App& bench) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand("gemm", "A matrix product");
  add_bench_options(*command, *options);
  const auto extent = [&](const char* flag, std::int64_t& value, const char* what) {
    command->add_option(flag, value, what)->check(whole_number(1))->capture_default_str();
  };
  extent("--m", options->geometry.m, "Rows of A and C");
  extent("--n", options->geometry.n, "Columns of B and C");
  extent("--k", options->geometry.k, "Columns of A, rows of B");
  command->callback([options] { run(*options); });
}

}  // namespace retort
