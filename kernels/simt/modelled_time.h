// How long a GPU might take for what was counted: a model, never a measurement.
//
// Four parts of the chip work side by side, and the slowest is taken for all: memory moves each distinct sector of a
// launch once, the L2 cache what multiprocessors ask of it, shared memory and the first cache one wavefront or line a
// clock, the tensor cores their products. Instructions are not counted, so a kernel bound by their issue takes longer
// than modelled; so does one with too few warps to hide what it waits for, and a launch costs nothing.
#pragma once

#include <span>
#include <string>

#include "kernels/simt/counters.h"

namespace retort::simt {

/// A chip as its maker describes it.
struct Chip {
  const char* name;
  double multiprocessors;
  double clock;        ///< Hz
  double memory;       ///< byte/s
  double tensor_16;    ///< flop/s of dense products of bf16 or f16
  double tensor_tf32;  ///< flop/s
  const char* source;
};

/// From NVIDIA's public documents. The clock is the one at which the tensor cores' rate is reached (rate /
/// multiprocessors / flop a clock: 2,048 on sm_80, 4,096 on sm_90), on the H200 the 1.755 GHz that it is taken to hold.
inline constexpr Chip kChips[] = {
    {"A100", 108, 1.41e9, 2.039e12, 312e12, 156e12,
     "A100 80GB SXM data sheet; NVIDIA A100 Tensor Core GPU Architecture (GA100)"},
    {"H100", 132, 1.83e9, 3.35e12, 989.4e12, 494.7e12,
     "H100 SXM data sheet; NVIDIA H100 Tensor Core GPU Architecture (GH100)"},
    {"H200", 132, 1.755e9, 4.8e12, 989.4e12, 494.7e12, "H200 SXM data sheet"},
};

/// An H200 copies 4.3 of its 4.8 TB/s (measured, read and written); kernels are taken to reach 0.92 of a copy. The
/// other chips are taken to reach the same share of theirs.
inline constexpr double kMemoryShare = 4.3 / 4.8 * 0.92;
/// An H200 multiplies large bf16 matrices of random numbers at 790 of its 989 TFLOP/s (measured). Taken for all.
inline constexpr double kTensorShare = 790 / 989.4;
/// Of a multiprocessor a clock: an H200's L2 cache is taken to give them 6 TB/s together.
inline constexpr double kL2Bytes = 6e12 / (132 * 1.755e9);

struct ModelledTime {
  double seconds = 0;
  const char* bound = "";  ///< "memory", "L2", "wavefronts" or "tensor"; empty where nothing was counted
};

/// Of all launches of a kernel in a geometry. Of a grid of fewer blocks than the chip has multiprocessors each has one.
ModelledTime modelled_time(const KernelCounts& kernel, const Chip& chip);
/// Of one launch after the other; the bound is the one that most of the time is spent at.
ModelledTime modelled_time(std::span<const KernelCounts> kernels, const Chip& chip);

}  // namespace retort::simt
