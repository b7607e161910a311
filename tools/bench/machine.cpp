#include "tools/bench/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "engine/core/tensor.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/threads.h"

namespace retort {
namespace {

constexpr int kTries = 12;  // the best counts: a limit is what the machine can do
constexpr std::int64_t kRounds = 2'000'000;
constexpr std::size_t kCopyBytes = std::size_t{64} << 20;

using Vector128 = float __attribute__((vector_size(16)));
using Vector256 = float __attribute__((vector_size(32)));
using Vector512 = float __attribute__((vector_size(64)));

/// Twelve independent chains hide the latency of two multiply-add units. Returns a value so that nothing is optimised
/// away. Inlined into a function that enables the instruction set.
template <class Vector>
[[gnu::always_inline]] inline float multiply_add_chains(std::int64_t rounds, float start) {
  Vector a0 = Vector{} + start, a1 = a0 + 1, a2 = a0 + 2, a3 = a0 + 3, a4 = a0 + 4, a5 = a0 + 5;
  Vector a6 = a0 + 6, a7 = a0 + 7, a8 = a0 + 8, a9 = a0 + 9, a10 = a0 + 10, a11 = a0 + 11;
  const Vector factor = Vector{} + 0.5f, addend = Vector{} + 0.25f;  // converges: no overflow, no denormals
  for (std::int64_t round = 0; round < rounds; ++round) {
    a0 = a0 * factor + addend;
    a1 = a1 * factor + addend;
    a2 = a2 * factor + addend;
    a3 = a3 * factor + addend;
    a4 = a4 * factor + addend;
    a5 = a5 * factor + addend;
    a6 = a6 * factor + addend;
    a7 = a7 * factor + addend;
    a8 = a8 * factor + addend;
    a9 = a9 * factor + addend;
    a10 = a10 * factor + addend;
    a11 = a11 * factor + addend;
  }
  const Vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
  return sum[0];
}

constexpr int kChains = 12;

float chains_baseline(std::int64_t rounds, float start) { return multiply_add_chains<Vector128>(rounds, start); }

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] float chains_avx2(std::int64_t rounds, float start) {
  return multiply_add_chains<Vector256>(rounds, start);
}
[[gnu::target("avx512f")]] float chains_avx512(std::int64_t rounds, float start) {
  return multiply_add_chains<Vector512>(rounds, start);
}
/// Two multiply-adds a lane.
[[gnu::target("avx512f")]] float chains_bf16(std::int64_t rounds, float start) {
  Vector512 a0 = Vector512{} + start, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0;
  Vector512 a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0;
  const Vector512 factor{};
  for (std::int64_t round = 0; round < rounds; ++round)
    asm("vdpbf16ps %12, %12, %0\n\tvdpbf16ps %12, %12, %1\n\tvdpbf16ps %12, %12, %2\n\t"
        "vdpbf16ps %12, %12, %3\n\tvdpbf16ps %12, %12, %4\n\tvdpbf16ps %12, %12, %5\n\t"
        "vdpbf16ps %12, %12, %6\n\tvdpbf16ps %12, %12, %7\n\tvdpbf16ps %12, %12, %8\n\t"
        "vdpbf16ps %12, %12, %9\n\tvdpbf16ps %12, %12, %10\n\tvdpbf16ps %12, %12, %11"
        : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5), "+v"(a6), "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10),
          "+v"(a11)
        : "v"(factor));
  const Vector512 sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
  return sum[0];
}
#endif

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// `lanes`: multiply-adds of one step of a chain.
double measure_peak_flops(float (*chains)(std::int64_t, float), int lanes) {
  const int threads = num_threads();
  std::vector<float> results(threads);
  double best = 0;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    parallel_tasks(threads,
                   [&](std::int64_t task, int) { results[task] = chains(kRounds, static_cast<float>(attempt)); });
    best = std::max(best, 2.0 * kChains * lanes * static_cast<double>(kRounds) * threads / seconds_since(start));
  }
  volatile float sink = results[0];
  (void)sink;
  return best;
}

double peak_flops() {
#if defined(__x86_64__)
  if (simd_available(SimdLevel::avx512)) return measure_peak_flops(chains_avx512, 16);
  if (simd_available(SimdLevel::avx2)) return measure_peak_flops(chains_avx2, 8);
#endif
  return measure_peak_flops(chains_baseline, 4);
}

double peak_flops_bf16([[maybe_unused]] double widened) {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512_bf16) return measure_peak_flops(chains_bf16, 32);
#endif
  return widened;
}

double measure_bandwidth() {
  const Tensor source = Tensor::zeros({static_cast<std::int64_t>(kCopyBytes / sizeof(float))});
  const Tensor target = Tensor::zeros(source.shape());
  const auto* from = static_cast<const char*>(source.raw());
  auto* to = static_cast<char*>(target.raw());
  double best = 0;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(kCopyBytes, 1 << 20, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
    best = std::max(best, 2.0 * kCopyBytes / seconds_since(start));
  }
  return best;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  return "unknown";
}

}  // namespace

Machine measure_machine() {
  const double peak = peak_flops();
  return {.cpu = cpu_name(),
          .cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency())),
          .threads = num_threads(),
          .simd = simd_name(simd_level()),
          .peak_flops = peak,
          .peak_flops_bf16 = peak_flops_bf16(peak),
          .bandwidth = measure_bandwidth()};
}

double roofline(double peak_flops, double bandwidth, double flops, double bytes) {
  return std::min(peak_flops, flops / bytes * bandwidth);
}

}  // namespace retort
