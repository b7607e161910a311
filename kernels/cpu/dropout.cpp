// Inverted dropout in plain loops: networks drop out a few thousand elements a sample, next to their billions of
// multiply-adds (contract: kernels/dropout.h). T: float or BFloat16.
#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/entry.h"
#include "kernels/philox.h"
#include "kernels/threads.h"

namespace retort::cpu {
namespace {

template <class T>
void apply(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const T* x, T* y) {
  // word / 2^32 >= p as integers; at p = 1 no word reaches it, and the factor is never used.
  const std::uint64_t threshold = static_cast<std::uint64_t>(std::ceil(p * 4294967296.0));
  const float factor = static_cast<float>(1 / (1 - p));
  const std::uint64_t key = seed[0];
  const std::uint64_t stream = seed[1] | layer;
  const std::uint32_t low = static_cast<std::uint32_t>(stream), high = static_cast<std::uint32_t>(stream >> 32);
  parallel_for((n + 3) / 4, 2048, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::uint64_t counter = static_cast<std::uint64_t>(block);
      const auto words =
          philox4x32({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), low, high}, key);
      const std::int64_t count = std::min<std::int64_t>(4, n - 4 * block);
      for (std::int64_t j = 0; j < count; ++j) {
        const float value = x[4 * block + j];
        y[4 * block + j] = words[static_cast<std::size_t>(j)] >= threshold ? T(value * factor) : T(0.0f);
      }
    }
  });
}

}  // namespace

template <class T>
DropoutKernels dropout() {
  return {.apply = entry<apply<T>>};
}

template DropoutKernels dropout<float>();
template DropoutKernels dropout<BFloat16>();

}  // namespace retort::cpu
