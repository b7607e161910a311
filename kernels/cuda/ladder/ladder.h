// The ladder: for convolution (fprop), softmax and the distillation loss, kernels from the naive one to the one that
// ships, each with one idea more than the one before. A step is a whole table, so whatever runs a table runs a step:
// tests, benchmarks, training. What each step does and why: docs/ladder.
#pragma once

#include <span>
#include <string_view>

#include "kernels/table.h"

namespace retort {

struct LadderStep {
  const char* name;   ///< "conv2d.1_naive": the op, its place on the ladder, the idea
  DType dtype;        ///< of the tensors
  KernelTable table;  ///< the shipping table of that dtype, the step's kernel in place of its own; named as the step
};

}  // namespace retort

namespace retort::cuda {

/// From the naive kernel to the one that ships. Each step takes every shape that the op's contract allows.
std::span<const LadderStep> conv2d_fprop_ladder();
std::span<const LadderStep> softmax_ladder();
std::span<const LadderStep> loss_ladder();
/// The step of a name such as "softmax.3_warp_per_row"; null if there is none.
const LadderStep* find_ladder_step(std::string_view name);

}  // namespace retort::cuda

namespace retort::simt {

std::span<const LadderStep> conv2d_fprop_ladder();
std::span<const LadderStep> softmax_ladder();
std::span<const LadderStep> loss_ladder();
const LadderStep* find_ladder_step(std::string_view name);

}  // namespace retort::simt
