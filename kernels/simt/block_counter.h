// Puts the accesses of one block's lanes together into requests and counts those. Internal to the simulator.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/simt/counters.h"
#include "kernels/simt/memory.h"
#include "kernels/simt/races.h"

namespace retort::simt {

/// A launch that is counted: its blocks add to it from several OS threads.
class LaunchCounter {
 public:
  /// blocks_over_run: how many of the grid's blocks one that runs stands for.
  explicit LaunchCounter(double blocks_over_run);
  /// No other launch has the same.
  std::uint64_t number() const { return number_; }
  void add(const Counts& of_block, std::size_t shared_bytes);
  /// Marks a sector as loaded or stored by the launch.
  void touch(std::uint64_t sector, bool stores, Extent& hint, std::atomic<std::uint64_t>*& bits);
  /// The launch's counts, when all blocks are done.
  KernelCounts finish() const;

 private:
  struct Region {
    std::size_t words = 0;  ///< of 64 sectors, of each kind
    std::uint64_t sectors = 0;
    std::unique_ptr<std::atomic<std::uint64_t>[]> touched;  ///< loaded, then stored
  };
  double scale_;
  std::uint64_t number_;
  std::mutex mutex_;
  Counts counts_;
  std::size_t shared_bytes_ = 0;
  std::map<std::uintptr_t, Region> regions_;  ///< by the buffer's address
};

/// The launch that starts now, of which `run` of the grid's blocks run; null where nothing is counted.
std::unique_ptr<LaunchCounter> count_launch(std::int64_t blocks, std::int64_t run);
void record_launch(const char* kernel, Dim3 grid, Dim3 block, const LaunchCounter& counter);
/// Whether begin_counting was called: read before anything else is done for the counters.
inline std::atomic<bool> counting_now{false};

enum class Space : std::uint8_t { own, shared, global };

class BlockCounter {
 public:
  void start(LaunchCounter& launch, unsigned warps);
  /// One lane's access. `place` is the same for all lanes that make it together; `at` is an address, or a byte of the
  /// block's shared memory.
  void access(unsigned warp, unsigned lane, std::uint64_t place, Space space, AccessKind kind, std::uint64_t at,
              std::size_t bytes);
  /// One lane's cp.async; `reads`: whether any byte is valid.
  void copy(unsigned warp, unsigned lane, std::uint64_t place, std::uint64_t source, std::uint32_t target,
            std::size_t bytes, bool reads);
  /// A whole warp's load of an 8 x 8 matrix, a row of 16 bytes a lane.
  void load_matrix(const std::uint32_t (&rows)[8]);
  /// A row of a bulk copy's box: bytes of global memory, and as many of shared memory at their best; `first` of its
  /// box, which is a request.
  void bulk_row(std::uint64_t address, std::uint32_t bytes, bool stores, bool first);
  /// Shared memory that wgmma reads for one warp, at its best.
  void operands(std::uint64_t bytes);
  void tensor(std::uint64_t flops, bool tf32) { (tf32 ? counts_.tensor_flops_tf32 : counts_.tensor_flops_16) += flops; }
  void copies_of_a_thread(std::uint64_t most_bytes) { counts_.copy_bytes_in_flight += most_bytes; }
  /// All lanes of the warp have met: turns are counted anew.
  void meet(unsigned warp);
  /// The block is done.
  void finish(std::size_t shared_bytes);

 private:
  enum class Kind : std::uint8_t { load, store, copy, shared_load, shared_store, atomic, shared_atomic };
  struct Request {
    std::uint32_t mask = 0, reading = 0;  ///< reading: the lanes of a copy that have a source
    std::uint64_t at[kLanes];
    std::uint32_t target[kLanes];  ///< of a copy
  };
  struct Site {
    std::uint64_t key;
    Kind kind;
    std::uint32_t bytes;
    std::uint32_t turns[kLanes] = {};
    std::size_t used = 0;  ///< of the requests; the others wait to be used again
    std::vector<Request> requests;
  };
  struct Warp {
    std::vector<Site> sites;
    std::unordered_map<std::uint64_t, std::size_t> index;
    std::vector<std::size_t> pending;  ///< sites with requests
    std::size_t last = 0;
  };
  Request& turn(unsigned warp, unsigned lane, std::uint64_t place, Kind kind, std::size_t bytes);
  void count(const Site& site, const Request& request);
  void count_global(Requests& sum, Kind kind, const Request& request, std::uint32_t mask, std::uint32_t bytes);

  LaunchCounter* launch_ = nullptr;
  std::uint64_t launch_number_ = 0;
  Counts counts_;
  std::vector<Warp> warps_;
  std::vector<std::uint64_t> loaded_;  ///< sectors, some several times
  Extent hint_;
  std::atomic<std::uint64_t>* bits_ = nullptr;
};

}  // namespace retort::simt
