// How much work a shape is, and how much of it a mode of a backend is given.
#pragma once

#include <cstdint>

namespace retort::test {

enum class Work : std::uint8_t {
  little,  ///< for every mode, each order of threads included
  modest,  ///< also for each step of the ladder
  usual,
  much  ///< for what runs at full speed
};

}  // namespace retort::test
