#include "kernels/reference/dropout.h"

#include "kernels/philox.h"

namespace retort::reference {

template <class T>
void dropout_apply(Stream, std::int64_t n, double p, const std::uint64_t* seed, std::uint64_t layer, const void* x,
                   void* y) {
  const std::uint64_t stream = seed[1] | layer;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t block = static_cast<std::uint64_t>(i) / 4;
    const auto words = philox4x32({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                                  seed[0]);
    const bool keep = words[static_cast<std::size_t>(i % 4)] / 4294967296.0 >= p;
    static_cast<T*>(y)[i] = keep ? static_cast<T>(static_cast<const T*>(x)[i] / (1 - p)) : 0;
  }
}

template void dropout_apply<float>(Stream, std::int64_t, double, const std::uint64_t*, std::uint64_t, const void*,
                                   void*);
template void dropout_apply<double>(Stream, std::int64_t, double, const std::uint64_t*, std::uint64_t, const void*,
                                    void*);

}  // namespace retort::reference
