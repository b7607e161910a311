// Gives every file of tests/fuzz/corpus to its reader: seeds, and what fuzzing found once.
//   fuzz_replay CORPUS
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <new>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "tests/fuzz/readers.h"

int main(int argc, char** argv) {
  using namespace retort;
  if (argc != 2) return std::fprintf(stderr, "fuzz_replay: give the folder of the corpus\n"), 2;
  int files = 0, refused = 0, slow = 0;
  for (const fuzz::Reader& reader : fuzz::readers()) {
    int mine = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(argv[1]) / reader.name)) {
      const std::vector<std::uint8_t> bytes = read_file(entry.path().string());
      const std::clock_t start = std::clock();  // of the processor: a machine may be busy
      try {
        reader.read(bytes);
      } catch (const Error& error) {
        ++refused;
      } catch (const std::bad_alloc&) {
        ++refused;
      }
      if (std::clock() - start > 20 * CLOCKS_PER_SEC) {  // 1 s, and more under sanitizers and valgrind
        std::fprintf(stderr, "fuzz_replay: %s: too slow\n", entry.path().c_str());
        ++slow;
      }
      ++mine;
    }
    if (mine == 0) return std::fprintf(stderr, "fuzz_replay: no corpus for %s\n", reader.name), 1;
    files += mine;
  }
  std::printf("%d files read, %d of them refused\n", files, refused);
  return slow > 0;
}
