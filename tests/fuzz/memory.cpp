// libFuzzer's entry for pictures under MemorySanitizer, which sees pixels from memory that was never written. Built
// from their decoders alone: every library that MemorySanitizer does not see would have to be built anew. See
// tests/fuzz/run.sh.
#include <cstdlib>

#include "engine/core/check.h"
#include "engine/data/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const retort::Image image = retort::decode_image({bytes, size}, "fuzz");
    std::uint64_t sum = 0;
    for (const std::uint8_t pixel : image.pixels) sum += pixel;
    if (sum == ~std::uint64_t{0}) std::abort();  // a branch on every pixel
  } catch (const retort::Error&) {
  }
  return 0;
}
