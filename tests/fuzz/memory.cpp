// libFuzzer's entry under MemorySanitizer: pictures alone, whose readers call little that is not instrumented.
#include <cstdint>
#include <cstdlib>
#include <new>

#include "engine/core/check.h"
#include "engine/data/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const retort::Image image = retort::decode_image({bytes, size}, "fuzz");
    std::uint64_t sum = 0;  // MemorySanitizer reports a branch on bytes that were never written
    for (const std::uint8_t pixel : image.pixels) sum += pixel;
    if (sum == ~std::uint64_t{0}) std::abort();
  } catch (const retort::Error&) {   // refused, with a message
  } catch (const std::bad_alloc&) {  // refused, too
  }
  return 0;
}
