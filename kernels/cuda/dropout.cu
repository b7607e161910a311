// Inverted dropout (contract: kernels/dropout.h): four elements a thread, one draw of Philox.
#include "kernels/dropout.h"

#include "kernels/cuda/common.h"
#include "kernels/entry.h"
#include "kernels/philox.h"

namespace retort::RETORT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void apply(std::int64_t n, std::uint64_t threshold, float factor, const std::uint64_t* seed,
                      std::uint64_t layer, const T* x, T* y) {
  const std::uint64_t key = seed[0], stream = seed[1] | layer;
  const std::int64_t groups = (n + 3) / 4, stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < groups; i += stride) {
    const std::uint64_t counter = static_cast<std::uint64_t>(i);
    const auto words = philox4x32({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                                  key);
    for (int j = 0; j < 4; ++j) {
      const std::int64_t at = i * 4 + j;
      if (at < n) y[at] = T(words[static_cast<std::size_t>(j)] >= threshold ? float(x[at]) * factor : 0);
    }
  }
}

template <class T>
void dropout_apply(Stream stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const T* x,
                   T* y) {
  if (n == 0) return;
  // word / 2^32 >= p as integers; at p = 1 no word reaches it, and the factor is never used.
  const auto threshold = static_cast<std::uint64_t>(std::ceil(p * 4294967296.0));
  dev::launch("dropout", apply<T>, {{blocks_for((n + 3) / 4, kThreads)}, {kThreads}}, stream, n, threshold,
              static_cast<float>(1 / (1 - p)), seed, layer, x, y);
}

}  // namespace

template <class T>
DropoutKernels dropout() {
  return {.apply = entry<dropout_apply<T>>};
}
template DropoutKernels dropout<float>();
template DropoutKernels dropout<BFloat16>();

}  // namespace retort::RETORT_BACKEND
