// Which accesses to shared memory are ordered by a barrier: a vector clock per warp and, per two bytes of memory, the
// last write and the last reads (FastTrack, Flanagan & Freund, PLDI 2009). Lanes of one warp are ordered by syncwarp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace retort::simt {

inline constexpr unsigned kMaxWarps = 32, kLanes = 32;

enum class AccessKind : std::uint8_t { read, write, atomic };

/// A place in the program's code, as its distance from a function of the simulator; 0 is none.
using CodePlace = std::int32_t;

/// Who touched a cell and in which of its warp's intervals between barriers.
struct AccessRecord {
  std::uint32_t epoch = 0;
  std::uint32_t lanes = 0;
  // The first of the lanes and another, if there is one: whoever conflicts with the record is not both of them.
  CodePlace first_place = 0, other_place = 0;
  std::uint8_t first_lane = 0, other_lane = 0;
  std::uint8_t warp = 0;
  bool atomic = false;
};

/// Bulk copies write shared memory as one more warp, whose only lane nobody waits for but through an mbarrier.
inline constexpr unsigned kCopyEngine = kMaxWarps;

using Clock = std::array<std::uint32_t, kMaxWarps + 1>;

class RaceDetector {
 public:
  /// Keeps the records and starts all clocks past them: no access of an earlier block conflicts.
  void start_block(unsigned warps, std::size_t shared_bytes);

  struct Conflict {
    bool found = false, pending = false, with_write = false;
    unsigned warp = 0, lane = 0;  ///< of the earlier access
    CodePlace place = 0;
  };
  /// Enters an access to shared bytes [offset, offset + bytes) and says whether it conflicts with an earlier one.
  Conflict access(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes, AccessKind kind,
                  CodePlace place);

  /// An asynchronous copy may write these bytes from now on, until land().
  Conflict issue(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes, CodePlace place);
  Conflict land(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes, CodePlace place);
  /// The same of a bulk copy: who acquires `into` from now on may touch the bytes.
  void land_bulk(std::size_t offset, std::size_t bytes, CodePlace place, Clock& into);

  /// All threads of the block met.
  void barrier();
  /// The lanes of one warp met.
  void warp_barrier(unsigned warp) { ++epoch_[warp]; }
  /// Some warps met, or one waited for what others released: each warp releases first, then each acquires.
  void release(unsigned warp, Clock& into);
  void acquire(unsigned warp, const Clock& from);

 private:
  struct Cell {
    AccessRecord write;
    AccessRecord reads[2];
    std::uint16_t pending = 0;
  };
  bool ordered(const AccessRecord& record, unsigned warp, unsigned lane) const;
  void enter_read(Cell& cell, unsigned warp, unsigned lane, CodePlace place);

  std::vector<Cell> cells_;
  std::size_t pending_ = 0;  ///< cells' copies that have not landed
  std::array<Clock, kMaxWarps + 1> seen_{};
  Clock epoch_{};
  unsigned warps_ = 0;
  std::uint32_t base_ = 0;
};

}  // namespace retort::simt
