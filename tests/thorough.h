// Whether the tests take their time.
#pragma once

#include <cstdlib>
#include <string_view>

namespace retort::test {

/// RETORT_TEST_THOROUGH=1, which tools/test.sh --full sets: every order of threads and every network in the simulator,
/// which is some thousand times slower than what it simulates. Without it a test shows the same on less.
inline bool thorough() {
  const char* const set = std::getenv("RETORT_TEST_THOROUGH");
  return set && std::string_view(set) == "1";
}

}  // namespace retort::test
