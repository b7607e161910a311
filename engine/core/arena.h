// A coalescing best-fit allocator for tensors. Memory comes from the system in large chunks and stays; freed blocks
// merge with their neighbours at once, so that a training step runs in the memory that its first run took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "kernels/types.h"

namespace retort {

class Arena {
 public:
  /// Of the CPU's memory. The limit on used bytes is memory_limit() (engine/core/memory_limit.h): beyond what the
  /// machine or a container has, the system would end the program without a word.
  Arena();
  /// Of a device's memory, without a limit of its own. Blocks are reused at once: right as long as all work on them is
  /// on one stream, in whose order they are written and read.
  explicit Arena(Device device);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A block of at least `bytes`, aligned to 64 bytes, its content undefined. Throws OutOfMemory when the limit is
  /// reached or the system has no more memory: says what was asked for and held, and to try a smaller batch. Safe from
  /// several threads.
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
  Device device_ = Device::cpu;
  std::size_t limit_;
  std::string origin_;  ///< what sets the limit
};

/// The arena of the CPU's tensors; lives until the program ends.
Arena& cpu_arena();

/// A block of a device's memory, given back when it is destroyed.
class MemoryBlock {
 public:
  MemoryBlock() = default;
  /// From the device's arena, or the one in scope. The simulator has none of its own: there every block is a buffer, so
  /// that the simulator sees where it ends. Throws Error when memory runs out.
  MemoryBlock(Device device, std::size_t bytes);
  ~MemoryBlock();
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;
  void* data() const { return data_; }

 private:
  Device device_ = Device::cpu;
  Arena* arena_ = nullptr;  ///< null: a buffer of the simulator's
  void* data_ = nullptr;
};

/// While it lives, this thread's blocks on a device come from another arena, which must outlive them.
class ArenaScope {
 public:
  ArenaScope(Device device, Arena& arena);
  ~ArenaScope();
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Device device_;
  Arena* previous_;
};

/// What tensors on the device hold, of the arena in scope where there is one; zeros for the simulator without.
Arena::Statistics memory_statistics(Device device);

}  // namespace retort
