// The machine's own limits, measured: what a kernel's speed is a share of.
#pragma once

#include <string>

namespace retort {

struct Machine {
  std::string cpu;
  int cores = 1, threads = 1;  ///< cores of the machine; threads in use
  std::string simd;            ///< level in use: "avx2", ...
  double peak_flops = 0;       ///< float32 flop/s of independent fused multiply-adds on all threads
  double peak_flops_bf16 = 0;  ///< of products of bf16: by the instruction for them if it is in use, else as above
  double bandwidth = 0;        ///< byte/s (read + written) of a copy much larger than the caches, on all threads
};

/// Takes about half a second.
Machine measure_machine();

/// Williams, Waterman & Patterson 2009: the attainable flop/s at an arithmetic intensity, min(peak, intensity *
/// bandwidth).
double roofline(double peak_flops, double bandwidth, double flops, double bytes);

}  // namespace retort
