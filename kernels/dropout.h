// Inverted dropout (Srivastava et al. 2014): y = keep * x / (1 - p), keep drawn by Philox 4x32-10 from (seed, element),
// so that backward draws the same mask again and nothing is stored.
//
// Element i uses word i % 4 of philox4x32(counter = {i / 4 low, i / 4 high, s low, s high}, key = seed[0]) with
// s = seed[1] | layer; it is kept when word / 2^32 >= p.
#pragma once

#include "kernels/types.h"

namespace retort {

struct DropoutKernels {
  /// seed points at two uint64 {seed, stream} in the backend's memory, read when the kernel runs. Backward is the same
  /// map applied to dy. In place (y == x) is allowed.
  Required<void(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const void* x,
                void* y)>
      apply;
};

}  // namespace retort
