// Counts what a piece of work launches.
#pragma once

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

}  // namespace retort::test
