// What kernels ask of the hardware, counted while the simulator runs them: exact, and the same in every run and under
// every order of threads.
//
// A warp's accesses are put together by place and turn: the lanes' n-th pass over a place in the source (the calls that
// led there included) since the warp last met as a whole is one request, as it is on a GPU that runs the lanes in step.
// Counted before any cache.
//
// Where launches are sampled (kernels/simt/simulator.h), counts are those of the blocks that ran times blocks / blocks
// that ran; distinct sectors likewise, but of each buffer at most all: exact where blocks touch parts of their own, or
// each the whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/simulator.h"

namespace retort::simt {

inline constexpr std::uint64_t kSectorBytes = 32, kLineBytes = 128;

/// Of global memory, asked for by whole warps.
struct Requests {
  std::uint64_t requests = 0, lanes = 0;
  std::uint64_t sectors = 0;  ///< distinct ones of 32 bytes, added over requests
  std::uint64_t lines = 0;    ///< distinct ones of 128 bytes, each a pass through the first cache
  std::uint64_t bytes = 0;    ///< that lanes asked for, those asked for by several counted for each

  void operator+=(const Requests& other);
  bool operator==(const Requests&) const = default;
};

/// Of shared memory, asked for by whole warps: 32 banks of 4 bytes, each of which gives one word a wavefront; accesses
/// of 8 and 16 bytes in 2 and 4 phases.
struct Wavefronts {
  std::uint64_t requests = 0, lanes = 0;
  std::uint64_t wavefronts = 0;
  std::uint64_t least = 0;  ///< wavefronts if the words asked for were spread evenly over the banks
  std::uint64_t bytes = 0;

  void operator+=(const Wavefronts& other);
  bool operator==(const Wavefronts&) const = default;
};

/// Of a launch, or of several.
struct Counts {
  Requests load, store, copy;  ///< copy: what cp.async reads
  /// ldmatrix loads each of its four matrices by a request.
  Wavefronts shared_load, shared_store, shared_copy;
  std::uint64_t unique_load_sectors = 0;   ///< distinct in a launch: what memory must give at least once
  std::uint64_t unique_store_sectors = 0;  ///< by atomics too
  std::uint64_t block_load_sectors = 0;    ///< distinct in a block, added over blocks: copies are not among them
  std::uint64_t atomics = 0, atomic_lanes = 0;
  std::uint64_t tensor_flops_16 = 0, tensor_flops_tf32 = 0;  ///< of mma; a multiply-add counts two
  /// Bytes of cp.async that each thread had under way at most, added over a block; the largest of all blocks.
  std::uint64_t copy_bytes_in_flight = 0;

  /// Lanes that take part in an access to memory, 32 at best.
  double active_lanes() const;
  void operator+=(const Counts& other);
  /// Of a sample of a launch's blocks, the launch's: all but the distinct sectors, which blocks share, and what was in
  /// flight, the largest of all.
  void scale(double blocks_over_sampled);
  bool operator==(const Counts&) const = default;
};

/// The launches of a kernel's name in one geometry.
struct KernelCounts {
  std::string kernel;
  Dim3 grid, block;
  std::size_t shared_bytes = 0;  ///< of a block, static and dynamic
  std::int64_t launches = 0;
  Counts counts;  ///< of all launches
};

/// From here on launches are counted; they take a few times as long. Throws Error while a counting is under way.
void begin_counting();
/// What was launched since begin_counting, in the order of the first launches. Throws Error if none was begun.
std::vector<KernelCounts> end_counting();

}  // namespace retort::simt
