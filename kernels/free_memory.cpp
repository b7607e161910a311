#include "kernels/free_memory.h"

#ifdef RETORT_SIMT
#include "kernels/simt/simulator.h"
#endif

namespace retort {

#ifdef RETORT_CUDA
namespace cuda {
std::size_t free_memory();  // memory.cu
}
#endif

std::size_t free_memory([[maybe_unused]] Device device) {
#ifdef RETORT_CUDA
  if (device == Device::cuda) return cuda::free_memory();
#endif
#ifdef RETORT_SIMT
  if (device == Device::simt) return simt::free_memory();
#endif
  return 0;
}

}  // namespace retort
