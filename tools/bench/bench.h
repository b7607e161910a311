// What the benchmarks share: backends, timing, and how results are shown.
//
// Candidates take turns within every repeat, so that a machine that slows down slows them all; a short one runs often
// enough for the clock in each turn. The median and the spread are reported.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cli/flags.h"
#include "tools/cli/options.h"
#include "tools/run/backends.h"

namespace retort {

struct BenchOptions {
  CommonOptions common;
  std::vector<std::string> backends;  ///< none: --device's
  std::string precision = "fp32";
  int repeats = 10;
  bool counters = false;  ///< of a benchmark of kernels
};

struct BenchResult {
  std::string name;
  Backend backend;
  std::string shape;
  double seconds = 0;      ///< median of one call
  double spread = 0;       ///< (90th - 10th percentile) / median
  double flops = 0;        ///< of one call; a multiply-add counts two; 0: not what the call is about
  double bytes = 0;        ///< that one call must at least move: each operand once
  std::int64_t count = 0;  ///< layers of this shape in the network; 0: not of a network
  double images = 0;       ///< of one call; 0: it is not counted in images
  // Kernels in the simulator alone:
  std::optional<double> error = {};    ///< over what is allowed: right up to 1
  nlohmann::ordered_json counts = {};  ///< of one call, with --counters
  std::string counts_text = {};
  // A whole step alone:
  std::size_t peak_process_bytes = 0, peak_arena_bytes = 0;
};

inline constexpr Word<const char*> kBenchPrecisions[] = {{"fp32", "fp32"}, {"tf32", "tf32"}, {"bf16", "bf16"}};

/// --repeats alone.
template <class Visitor>
void visit_repeats(BenchOptions& o, Visitor&& flag) {
  flag("--repeats", o.repeats, "Measurements, of which the median counts", whole_number(1, 100000));
}

/// --device, --threads, ... --backend, --precision, --repeats.
template <class Visitor>
void visit_flags(BenchOptions& o, Visitor&& flag) {
  visit_flags(o.common, flag);
  flag("--backend", o.backends,
       "cpu, reference, cuda, simt, cublas, cudnn, ... (default: --device's); several are measured in turns",
       anything());
  flag("--precision", o.precision, "{}", one_of(kBenchPrecisions));
  visit_repeats(o, flag);
}

/// --counters alone.
template <class Visitor>
void visit_counters(BenchOptions& o, Visitor&& flag) {
  flag("--counters", o.counters,
       "With --backend simt: what the kernels ask of memory and tensor cores, counted; times modelled from it",
       anything());
}

/// What --backend and --precision name; throws as find_backend does.
std::vector<Backend> chosen_backends(const BenchOptions& options, Subject subject);

/// The results of measure(shape, backends, options) for each shape in turn, on the backends that the options choose.
template <class Shape, class Options, class Measure>
std::vector<BenchResult> measure_each(const std::vector<Shape>& shapes, const Options& options, Subject subject,
                                      const Measure& measure) {
  const std::vector<Backend> backends = chosen_backends(options, subject);
  std::vector<BenchResult> results;
  for (const Shape& shape : shapes)
    for (BenchResult& result : measure(shape, backends, options)) results.push_back(std::move(result));
  return results;
}

/// Something to time, and the device that has to be waited for.
struct Candidate {
  std::function<void()> call;
  Device device;
  /// In the simulator: how far off results are, as tools/bench/right.h has it.
  std::function<double()> error = {};
};
/// Calls in turn on buffers of their own, so many that on a CUDA device each finds its L2 cache cold: `make` gives one
/// with new buffers, of which it moves `bytes`.
Candidate in_rotation(Device device, double bytes, const std::function<std::function<void()>()>& make);

struct Timing {
  double seconds = 0, spread = 0;
};
/// Times the candidates in turns (A B B A), after a warm-up of each.
std::vector<Timing> measure(const std::vector<Candidate>& candidates, int repeats);
/// Times the candidates into the results, one each; those in the simulator are also checked, and counted with
/// --counters. Throws UsageError for --counters without the simulator.
void measure(const std::vector<Candidate>& candidates, const BenchOptions& options, std::vector<BenchResult>& results);

/// Measures the machine and prints everything: a table, or one JSON object. Throws Error afterwards if a result is
/// wrong. With `totals` a line (an entry of "totals")
/// per name and backend that sums seconds and flops over the network's layers.
void print_results(const BenchOptions& options, const std::vector<BenchResult>& results, bool totals);

void add_bench_conv(CLI::App& bench);
void add_bench_gemm(CLI::App& bench);
void add_bench_softmax(CLI::App& bench);
void add_bench_loss(CLI::App& bench);
void add_bench_step(CLI::App& bench);
void add_bench_data(CLI::App& bench);

}  // namespace retort
