// libFuzzer's entry for one reader, which READER in the environment names. See tests/fuzz/run.sh.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>

#include "engine/core/check.h"
#include "tests/fuzz/readers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const retort::fuzz::Reader* const reader = [] {
    const char* const name = std::getenv("READER");
    for (const retort::fuzz::Reader& candidate : retort::fuzz::readers())
      if (name && std::strcmp(candidate.name, name) == 0) return &candidate;
    std::abort();
  }();
  // libFuzzer's own limit is of the clock, which runs on while other work has the processor.
  static const char* const longest = std::getenv("LONGEST");
  const std::clock_t start = std::clock();
  try {
    reader->read({bytes, size});
  } catch (const retort::Error&) {   // refused, with a message
  } catch (const std::bad_alloc&) {  // refused, too: "out of memory"
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (longest && seconds > std::atof(longest)) {
    std::fprintf(stderr, "too slow: %.2f s of the processor\n", seconds);
    std::abort();
  }
  return 0;
}
