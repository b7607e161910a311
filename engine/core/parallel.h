// A loop over the threads whose tasks may throw.
#pragma once

#include <cstdint>

#include "kernels/threads.h"

namespace retort {

/// Runs task(index) for every index in [0, count) as parallel_tasks does. Where tasks throw, all others still run, and
/// what the one of the lowest index threw is thrown here.
void parallel_each(std::int64_t count, FunctionRef<void(std::int64_t index)> task);

}  // namespace retort
