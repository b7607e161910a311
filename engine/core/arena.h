// A coalescing best-fit allocator for tensors. Memory comes from the system in large chunks and stays; freed blocks
// merge with their neighbours at once, so that a training step runs in the memory that its first run took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace retort {

class Arena {
 public:
  /// The limit on used bytes is the environment's RETORT_MEMORY_LIMIT (in bytes) if set, else the machine's memory, or
  /// the container's where that is less: beyond it the system would end the program without a word.
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A block of at least `bytes`, aligned to 64 bytes, its content undefined. Throws Error when the limit is reached or
  /// the system has no more memory: says what was asked for and held, and to try a smaller batch. Safe from several
  /// threads.
  void* allocate(std::size_t bytes);
  void release(void* block) noexcept;

  struct Statistics {
    std::size_t used_bytes = 0;      ///< in live blocks
    std::size_t peak_bytes = 0;      ///< the most ever used since the last reset_peak()
    std::size_t reserved_bytes = 0;  ///< taken from the system
  };
  Statistics statistics() const;
  void reset_peak();

 private:
  struct Block {
    std::size_t bytes;
    bool free;
    bool first;  ///< of its chunk: never merges backwards
  };
  using Blocks = std::map<std::byte*, Block>;

  /// Takes a chunk for a block of `bytes` from the system; false if it has none.
  bool add_chunk(std::size_t bytes);
  /// Enters a free block, merged with its free neighbours.
  void add_free(std::byte* address, Block block);

  mutable std::mutex mutex_;
  Blocks blocks_;                                      ///< by address
  std::set<std::pair<std::size_t, std::byte*>> free_;  ///< by size, then address
  std::vector<std::pair<void*, std::size_t>> chunks_;
  Statistics statistics_;
  std::size_t limit_;
};

/// The arena of the CPU's tensors; lives until the program ends.
Arena& cpu_arena();

}  // namespace retort
