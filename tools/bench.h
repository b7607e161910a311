// What the benchmarks share: backends, timing, and how results are shown.
//
// Candidates take turns within every repeat, so that a machine that slows down slows them all; a short one runs often
// enough for the clock in each turn. The median and the spread are reported.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "tools/options.h"

namespace retort {

struct BenchOptions {
  CommonOptions common;
  std::vector<std::string> backends = {"cpu"};
  int repeats = 10;
};

struct BenchResult {
  std::string name, backend, shape;
  double seconds = 0;      ///< median of one call
  double spread = 0;       ///< (90th - 10th percentile) / median
  double flops = 0;        ///< of one call; a multiply-add counts two
  double bytes = 0;        ///< that one call must at least move: each operand once
  std::int64_t count = 0;  ///< layers of this shape in the network; 0: not of a network
  // A whole step alone (0 images: not a step):
  double images = 0;
  std::size_t peak_process_bytes = 0, peak_arena_bytes = 0;
};

/// --device, --threads, ... --backend, --repeats.
void add_bench_options(CLI::App& command, BenchOptions& options);

struct Backend {
  std::string name;
  const KernelTable* table;  ///< of f32
};
/// Throws UsageError for a backend that this build does not have.
std::vector<Backend> chosen_backends(const BenchOptions& options);

struct Timing {
  double seconds = 0, spread = 0;
};
/// Times the candidates in turns, after a warm-up of each.
std::vector<Timing> measure(const std::vector<std::function<void()>>& candidates, int repeats);

/// Measures the machine and prints everything: a table, or one JSON object. With `totals` a line (an entry of "totals")
/// per name and backend that sums seconds and flops over the network's layers.
void print_results(const BenchOptions& options, const std::vector<BenchResult>& results, bool totals);

void add_bench_conv(CLI::App& bench);
void add_bench_gemm(CLI::App& bench);
void add_bench_loss(CLI::App& bench);
void add_bench_step(CLI::App& bench);

}  // namespace retort
