// libFuzzer's entry for one reader, which READER in the environment names. See tests/fuzz/run.sh.
#include <cstdlib>
#include <cstring>
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
  try {
    reader->read({bytes, size});
  } catch (const retort::Error&) {   // refused, with a message
  } catch (const std::bad_alloc&) {  // refused, too: "out of memory"
  }
  return 0;
}
