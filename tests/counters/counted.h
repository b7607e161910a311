// Counts what a piece of work launches.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/simt/counters.h"

namespace retort::test {

/// The kernels that work() launches in the simulator.
template <class Work>
std::vector<simt::KernelCounts> counted(const Work& work) {
  simt::begin_counting();
  try {
    work();
  } catch (...) {
    simt::end_counting();
    throw;
  }
  return simt::end_counting();
}

/// Launches of one name are one kernel, whatever their geometry.
inline std::vector<simt::KernelCounts> by_name(const std::vector<simt::KernelCounts>& launches) {
  std::vector<simt::KernelCounts> kernels;
  for (const simt::KernelCounts& launch : launches) {
    const auto known = std::find_if(kernels.begin(), kernels.end(),
                                    [&](const simt::KernelCounts& kernel) { return kernel.kernel == launch.kernel; });
    if (known == kernels.end())
      kernels.push_back(launch);
    else
      known->counts += launch.counts;
  }
  return kernels;
}

}  // namespace retort::test
