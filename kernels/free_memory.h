// How much of a device's memory is left.
#pragma once

#include <cstddef>

#include "kernels/types.h"

namespace retort {

/// Bytes that nobody has allocated, this process or another; 0 where that is not known: on the CPU, and in the
/// simulator unless it is told (kernels/simt/simulator.h). Throws std::runtime_error with CUDA's text where its driver
/// fails.
std::size_t free_memory(Device device);

}  // namespace retort
