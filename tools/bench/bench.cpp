// retort bench: kernels and whole steps, measured.
#include "tools/bench/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "kernels/memory.h"
#include "tools/bench/limits.h"
#include "tools/bench/machine.h"
#include "tools/cli/progress.h"
#include "tools/commands/commands.h"
#include "tools/run/kernel_counts.h"

namespace retort {
namespace {

constexpr double kShortestTurn = 2e-3;  // seconds; far above the clock's grain
constexpr double kMaxCalls = 1e5;

constexpr double kColdBytes = 128e6;  // more than twice the L2 cache of any GPU so far
constexpr double kMaxSets = 256;

/// Seconds of all calls together, from an idle device to an idle device.
double time_calls(const Candidate& candidate, std::int64_t calls) {
  const DeviceMemory& memory = memory_of(candidate.device);
  memory.synchronize({});
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < calls; ++i) candidate.call();
  memory.synchronize({});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Calls that fill the shortest turn. A single call says too little of short ones: starting and waiting count in it.
std::int64_t calls_a_turn(const Candidate& candidate) {
  double calls = 1;
  for (;;) {
    const double seconds = time_calls(candidate, static_cast<std::int64_t>(calls));
    if (seconds >= 0.9 * kShortestTurn || calls >= kMaxCalls) return static_cast<std::int64_t>(calls);
    calls = std::min(kMaxCalls, std::ceil(calls * std::min(kShortestTurn / seconds, 100.0)));
  }
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
      return candidate.name == result.name && candidate.backend.name == result.backend.name;
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

/// Of the limit that bandwidth and arithmetic set where the backend runs; the simulator is measured as the CPU it is.
double roofline_share(const BenchResult& result, const Machine& machine) {
  const double flops_rate = result.flops / result.seconds;
  if (result.backend.device != Device::cuda) {
    const bool bf16 = result.backend.device == Device::cpu && result.backend.dtype == DType::bf16;
    const double peak = bf16 ? machine.peak_flops_bf16 : machine.peak_flops;
    return flops_rate / roofline(peak, machine.bandwidth, result.flops, result.bytes);
  }
  const DeviceLimits& limits = cuda_limits(result.backend.precision);
  return flops_rate / roofline(limits.peak_flops, limits.bandwidth, result.flops, result.bytes);
}

/// The precisions that were measured on a CUDA device.
std::vector<std::string> cuda_precisions(const std::vector<BenchResult>& results) {
  std::vector<std::string> precisions;
  for (const BenchResult& result : results)
    if (result.backend.device == Device::cuda &&
        std::find(precisions.begin(), precisions.end(), result.backend.precision) == precisions.end())
      precisions.push_back(result.backend.precision);
  return precisions;
}

/// NaN is not.
bool is_right(const BenchResult& result) { return !result.error || *result.error <= 1; }

nlohmann::ordered_json to_json(const BenchResult& result, const Machine& machine) {
  nlohmann::ordered_json json = {
      {"name", result.name},   {"backend", result.backend.name}, {"precision", result.backend.precision},
      {"shape", result.shape}, {"seconds", result.seconds},      {"spread", result.spread}};
  if (result.flops > 0) json["flops"] = result.flops;
  json["bytes"] = result.bytes;
  if (result.flops > 0) json["gflops"] = result.flops / result.seconds / 1e9;
  json["gbps"] = result.bytes / result.seconds / 1e9;
  if (result.flops > 0) json["roofline_share"] = roofline_share(result, machine);
  if (result.count > 0) json["count"] = result.count;
  if (result.images > 0) json["images_per_second"] = result.images / result.seconds;
  if (result.peak_process_bytes > 0)
    json["peak_bytes"] = {{"process", result.peak_process_bytes}, {"arena", result.peak_arena_bytes}};
  if (result.error) json["right"] = is_right(result);
  if (result.error) json["error_of_allowed"] = *result.error;
  if (!result.counts.is_null()) json["counters"] = result.counts;
  return json;
}

struct Widths {
  int name = 4, backend = 9, shape = 10;
};

void print_row(const BenchResult& result, const Machine& machine, const Widths& widths) {
  std::printf("%-*s  %-*s  %-*s  %10.3f  %5.1f%%", widths.name, result.name.c_str(), widths.backend,
              result.backend.name.c_str(), widths.shape, result.shape.c_str(), 1e3 * result.seconds,
              100 * result.spread);
  const double gbps = result.bytes / result.seconds / 1e9;
  if (result.flops > 0)
    std::printf("  %8.1f  %7.1f  %7.1f%%", result.flops / result.seconds / 1e9, gbps,
                100 * roofline_share(result, machine));
  else
    std::printf("  %8s  %7.1f  %8s", "-", gbps, "-");
  if (result.count > 0) std::printf("  x%lld", static_cast<long long>(result.count));
  if (result.images > 0) std::printf("  %.2f images/s", result.images / result.seconds);
  if (result.peak_process_bytes > 0)
    std::printf(", peak %.0f MiB (arena %.0f MiB)", static_cast<double>(result.peak_process_bytes) / (1 << 20),
                static_cast<double>(result.peak_arena_bytes) / (1 << 20));
  if (result.error && is_right(result)) std::printf("  right");
  if (!is_right(result)) std::printf("  WRONG: off by %.3g times what is allowed", *result.error);
  std::printf("\n");
}

}  // namespace

std::vector<Backend> chosen_backends(const BenchOptions& options, Subject subject) {
  std::vector<std::string> names = options.backends;
  if (names.empty()) names = {to_string(compute_device(options.common))};
  std::vector<Backend> backends;
  backends.reserve(names.size());
  for (const std::string& name : names) backends.push_back(find_backend("--backend", name, options.precision, subject));
  return backends;
}

Candidate in_rotation(Device device, double bytes, const std::function<std::function<void()>()>& make) {
  const double sets = device == Device::cuda ? std::clamp(std::ceil(kColdBytes / bytes), 1.0, kMaxSets) : 1;
  std::vector<std::function<void()>> calls;
  for (int i = 0; i < static_cast<int>(sets); ++i) calls.push_back(make());
  return {[calls = std::move(calls), next = std::size_t{0}]() mutable {
            calls[next]();
            next = (next + 1) % calls.size();
          },
          device};
}

std::vector<Timing> measure(const std::vector<Candidate>& candidates, int repeats) {
  std::vector<std::int64_t> calls;
  for (const Candidate& candidate : candidates) {
    candidate.call();
    calls.push_back(calls_a_turn(candidate));
  }
  std::vector<std::vector<double>> seconds(candidates.size());
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (std::size_t turn = 0; turn < candidates.size(); ++turn) {
      if (interrupted()) throw Interrupted{};
      const std::size_t i = repeat % 2 == 0 ? turn : candidates.size() - 1 - turn;
      seconds[i].push_back(time_calls(candidates[i], calls[i]) / static_cast<double>(calls[i]));
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

void measure(const std::vector<Candidate>& candidates, const BenchOptions& options, std::vector<BenchResult>& results) {
  if (options.counters && std::none_of(candidates.begin(), candidates.end(),
                                       [](const Candidate& one) { return one.device == Device::simt; }))
    throw UsageError("--counters: kernels are counted in the simulator alone; add --backend simt");
  const std::vector<Timing> timings = measure(candidates, options.repeats);
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].seconds = timings[i].seconds;
    results[i].spread = timings[i].spread;
    if (candidates[i].device != Device::simt) continue;
    if (candidates[i].error) results[i].error = candidates[i].error();
    if (!options.counters) continue;
    const CountedCall counted = count_call(candidates[i].call);
    results[i].counts = counted.json;
    results[i].counts_text = counted.text;
  }
}

namespace {

void print_counts(const std::vector<BenchResult>& results) {
  bool any = false;
  for (const BenchResult& result : results) {
    if (result.counts_text.empty()) continue;
    if (!any) std::printf("Counted in one call; times are modelled from that, not measured (docs/simulator.md)\n");
    any = true;
    std::printf("%s  %s  %s\n%s", result.name.c_str(), result.backend.name.c_str(), result.shape.c_str(),
                result.counts_text.c_str());
  }
}

void check_right(const std::vector<BenchResult>& results) {
  for (const BenchResult& result : results)
    check(is_right(result), result.name, " on ", result.backend.name, ", ", result.shape,
          ": differs from the double reference by ", result.error.value_or(0),
          " times what is allowed; its time is that of a wrong kernel");
}

}  // namespace

void print_results(const BenchOptions& options, const std::vector<BenchResult>& results, bool totals) {
  const Machine machine = measure_machine();
  const std::vector<std::string> precisions = cuda_precisions(results);
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
                       {"peak_gflops_bf16", machine.peak_flops_bf16 / 1e9},
                       {"bandwidth_gbps", machine.bandwidth / 1e9}};
    for (const std::string& precision : precisions) {
      const DeviceLimits& limits = cuda_limits(precision);
      json["machine"]["device"] = limits.name;
      json["machine"]["device_bandwidth_gbps"] = limits.bandwidth / 1e9;
      json["machine"]["device_peak_gflops"][precision] = limits.peak_flops / 1e9;
      json["machine"]["device_peak_backend"] = limits.peak_backend;
    }
    std::cout << json.dump() << std::endl;
    check_right(results);
    return;
  }
  Widths widths;
  const auto widen = [](int& width, const std::string& word) {
    width = std::max(width, static_cast<int>(word.size()));
  };
  for (const BenchResult& result : results) {
    widen(widths.name, result.name);
    widen(widths.backend, result.backend.name);
    widen(widths.shape, result.shape);
  }
  std::printf("%s, %d cores, %d threads, %s: peak %.1f GFLOP/s, in bf16 %.1f, copy %.1f GB/s\n", machine.cpu.c_str(),
              machine.cores, machine.threads, machine.simd.c_str(), machine.peak_flops / 1e9,
              machine.peak_flops_bf16 / 1e9, machine.bandwidth / 1e9);
  for (const std::string& precision : precisions) {
    const DeviceLimits& limits = cuda_limits(precision);
    std::printf("%s, %s: peak %.1f GFLOP/s by %s, copy %.1f GB/s\n", limits.name.c_str(), precision.c_str(),
                limits.peak_flops / 1e9, limits.peak_backend.c_str(), limits.bandwidth / 1e9);
  }
  std::printf("%-*s  %-*s  %-*s  %10s  %6s  %8s  %7s  %8s\n", widths.name, "name", widths.backend, "backend",
              widths.shape, "shape", "ms", "spread", "GFLOP/s", "GB/s", "roofline");
  for (const BenchResult& result : results) print_row(result, machine, widths);
  for (const BenchResult& sum : sums) print_row(sum, machine, widths);
  print_counts(results);
  std::fflush(stdout);
  check_right(results);
}

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Kernels and whole steps, measured");
  bench->require_subcommand(1);
  add_bench_conv(*bench);
  add_bench_gemm(*bench);
  add_bench_softmax(*bench);
  add_bench_loss(*bench);
  add_bench_step(*bench);
  add_bench_data(*bench);
}

}  // namespace retort
