// retort bench: kernels and whole steps, measured.
#include "tools/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "tools/bench_machine.h"
#include "tools/commands.h"
#include "tools/progress.h"

namespace retort {
namespace {

constexpr double kShortestTurn = 2e-3;  // seconds; far above the clock's grain
constexpr double kMostCalls = 1e5;

double time_calls(const std::function<void()>& call, std::int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < calls; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(calls);
}

/// Linear interpolation between the order statistics; `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// One entry per name and backend, in order of appearance, each layer counted.
std::vector<BenchResult> sum_over_layers(const std::vector<BenchResult>& results) {
  std::vector<BenchResult> sums;
  for (const BenchResult& result : results) {
    auto sum = std::find_if(sums.begin(), sums.end(), [&](const BenchResult& candidate) {
      return candidate.name == result.name && candidate.backend == result.backend;
    });
    if (sum == sums.end()) {
      sums.push_back({.name = result.name, .backend = result.backend, .shape = "all layers"});
      sum = sums.end() - 1;
    }
    const auto count = static_cast<double>(result.count);
    sum->seconds += count * result.seconds;
    sum->spread += count * result.seconds * result.spread;  // becomes the mean, weighted by time
    sum->flops += count * result.flops;
    sum->bytes += count * result.bytes;
    sum->count += result.count;
  }
  for (BenchResult& sum : sums) sum.spread /= sum.seconds;
  return sums;
}

nlohmann::ordered_json to_json(const BenchResult& result, const Machine& machine) {
  const double flops_rate = result.flops / result.seconds;
  nlohmann::ordered_json json = {{"name", result.name},
                                 {"backend", result.backend},
                                 {"shape", result.shape},
                                 {"seconds", result.seconds},
                                 {"spread", result.spread},
                                 {"flops", result.flops},
                                 {"bytes", result.bytes},
                                 {"gflops", flops_rate / 1e9},
                                 {"gbps", result.bytes / result.seconds / 1e9},
                                 {"roofline_share", flops_rate / roofline(machine, result.flops, result.bytes)}};
  if (result.count > 0) json["count"] = result.count;
  if (result.images > 0) {
    json["images_per_second"] = result.images / result.seconds;
    json["peak_bytes"] = {{"process", result.peak_process_bytes}, {"arena", result.peak_arena_bytes}};
  }
  return json;
}

void print_row(const BenchResult& result, const Machine& machine, int name_width, int shape_width) {
  const double flops_rate = result.flops / result.seconds;
  std::printf("%-*s  %-9s  %-*s  %10.3f  %5.1f%%  %8.1f  %7.1f  %7.1f%%", name_width, result.name.c_str(),
              result.backend.c_str(), shape_width, result.shape.c_str(), 1e3 * result.seconds, 100 * result.spread,
              flops_rate / 1e9, result.bytes / result.seconds / 1e9,
              100 * flops_rate / roofline(machine, result.flops, result.bytes));
  if (result.count > 0) std::printf("  x%lld", static_cast<long long>(result.count));
  if (result.images > 0)
    std::printf("  %.2f images/s, peak %.0f MiB (arena %.0f MiB)", result.images / result.seconds,
                static_cast<double>(result.peak_process_bytes) / (1 << 20),
                static_cast<double>(result.peak_arena_bytes) / (1 << 20));
  std::printf("\n");
}

}  // namespace

void add_bench_options(CLI::App& command, BenchOptions& options) {
  add_common_options(command, options.common);
  as_list(command.add_option("--backend", options.backends, "cpu or reference; several are measured in turns"))
      ->capture_default_str();
  command.add_option("--repeats", options.repeats, "Measurements, of which the median counts")
      ->check(whole_number(1, 100000))
      ->capture_default_str();
}

std::vector<Backend> chosen_backends(const BenchOptions& options) {
  std::vector<Backend> backends;
  for (const std::string& name : options.backends) {
    if (name == "cpu")
      backends.push_back({name, &kernels_for(Device::cpu, DType::f32)});
    else if (name == "reference")
      backends.push_back({name, &kernels_for(Device::reference, DType::f32)});
    else
      throw UsageError(text("--backend: this build has no '", name, "'; use cpu or reference"));
  }
  return backends;
}

std::vector<Timing> measure(const std::vector<std::function<void()>>& candidates, int repeats) {
  std::vector<std::int64_t> calls;
  for (const auto& candidate : candidates) {
    candidate();
    const double once = time_calls(candidate, 1);
    calls.push_back(static_cast<std::int64_t>(std::clamp(std::ceil(kShortestTurn / once), 1.0, kMostCalls)));
  }
  std::vector<std::vector<double>> seconds(candidates.size());
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (interrupted()) throw Interrupted{};
      seconds[i].push_back(time_calls(candidates[i], calls[i]));
    }
  }
  std::vector<Timing> timings;
  for (std::vector<double>& samples : seconds) {
    std::sort(samples.begin(), samples.end());
    const double median = percentile(samples, 0.5);
    timings.push_back({median, (percentile(samples, 0.9) - percentile(samples, 0.1)) / median});
  }
  return timings;
}

void print_results(const BenchOptions& options, const std::vector<BenchResult>& results, bool totals) {
  const Machine machine = measure_machine();
  const std::vector<BenchResult> sums = totals ? sum_over_layers(results) : std::vector<BenchResult>{};
  if (options.common.json) {
    nlohmann::ordered_json json = {{"results", nlohmann::ordered_json::array()}};
    for (const BenchResult& result : results) json["results"].push_back(to_json(result, machine));
    for (const BenchResult& sum : sums) json["totals"].push_back(to_json(sum, machine));
    json["machine"] = {{"cpu", machine.cpu},
                       {"cores", machine.cores},
                       {"threads", machine.threads},
                       {"simd", machine.simd},
                       {"peak_gflops", machine.peak_flops / 1e9},
                       {"bandwidth_gbps", machine.bandwidth / 1e9}};
    std::cout << json.dump() << std::endl;
    return;
  }
  std::size_t name_width = 4, shape_width = 5;
  for (const BenchResult& result : results) {
    name_width = std::max(name_width, result.name.size());
    shape_width = std::max({shape_width, result.shape.size(), std::size_t{10}});
  }
  const int name = static_cast<int>(name_width), shape = static_cast<int>(shape_width);
  std::printf("%s, %d cores, %d threads, %s: peak %.1f GFLOP/s, copy %.1f GB/s\n", machine.cpu.c_str(), machine.cores,
              machine.threads, machine.simd.c_str(), machine.peak_flops / 1e9, machine.bandwidth / 1e9);
  std::printf("%-*s  %-9s  %-*s  %10s  %6s  %8s  %7s  %8s\n", name, "name", "backend", shape, "shape", "ms", "spread",
              "GFLOP/s", "GB/s", "roofline");
  for (const BenchResult& result : results) print_row(result, machine, name, shape);
  for (const BenchResult& sum : sums) print_row(sum, machine, name, shape);
  std::fflush(stdout);
}

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Kernels and whole steps, measured");
  bench->require_subcommand(1);
  add_bench_conv(*bench);
  add_bench_gemm(*bench);
  add_bench_loss(*bench);
  add_bench_step(*bench);
}

}  // namespace retort
