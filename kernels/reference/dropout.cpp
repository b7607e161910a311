// The oracle's dropout (contract: kernels/dropout.h): one draw of Philox an element.
#include "kernels/dropout.h"

#include "kernels/entry.h"
#include "kernels/philox.h"

namespace retort::reference {
namespace {

template <class T>
void apply(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const T* x, T* y) {
  const std::uint64_t stream = seed[1] | layer;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t block = static_cast<std::uint64_t>(i) / 4;
    const auto words = philox4x32({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                                  seed[0]);
    const bool keep = words[static_cast<std::size_t>(i % 4)] / 4294967296.0 >= p;
    y[i] = keep ? static_cast<T>(x[i] / (1 - p)) : 0;
  }
}

}  // namespace

template <class T>
DropoutKernels dropout() {
  return {.apply = entry<apply<T>>};
}
template DropoutKernels dropout<float>();
template DropoutKernels dropout<double>();

}  // namespace retort::reference
