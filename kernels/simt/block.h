// One block in flight: its fibers, barriers and warps. Internal to the simulator.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/memory.h"
#include "kernels/simt/races.h"
#include "kernels/simt/simulator.h"
#include "kernels/threads.h"

namespace retort::simt {

/// A place in a kernel's source.
struct Where {
  const char* file = nullptr;
  int line = 0;
};

/// "conv2d.cu:120", or "none".
std::string to_string(Where where);

/// An asynchronous copy that has been issued and has not landed.
struct PendingCopy {
  void* target;
  const void* source;
  std::size_t bytes, valid;  ///< the rest is zero-filled
};

struct Thread {
  boost::context::detail::fcontext_t context = nullptr;
  Dim3 index;
  unsigned id = 0;
  bool done = false, waiting = false;
  const char* waits_for = nullptr;               ///< "__syncthreads", ...
  std::uint32_t mask = 0;                        ///< of a warp operation that it waits for
  Where where;                                   ///< of the last barrier or warp operation
  std::vector<std::vector<PendingCopy>> groups;  ///< committed copies, oldest first
  std::vector<PendingCopy> open;                 ///< not committed yet
};

/// A warp operation some lanes have reached.
struct Rendezvous {
  using Complete = void (*)(class Block&, unsigned warp, Rendezvous&);
  const char* name;
  Complete complete;
  std::uint32_t mask, arrived = 0;
  Where where;
  void* lanes[kLanes] = {};  ///< each lane's arguments, on its stack
};

struct NamedBarrier {
  unsigned expected = 0, arrived = 0;
  Clock clock{};
  std::vector<unsigned> waiting;
};

class Block {
 public:
  Block() = default;
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs a block to its end on the calling OS thread. Returns the defect's description, or an empty string.
  std::string run(const char* kernel, Dim3 grid, Dim3 block, Dim3 index, std::size_t dynamic_bytes, std::uint64_t seed,
                  FunctionRef<void()> body);

  /// The block that this OS thread runs, or null outside kernels.
  static Block* current();

  Dim3 grid, size, index;
  Thread& thread() { return threads_[running_]; }
  unsigned warp() const { return running_ / kLanes; }
  unsigned lane() const { return running_ % kLanes; }

  // What the running thread does.
  void access(std::uintptr_t address, std::size_t bytes, AccessKind kind);
  void* dynamic_shared() { return shared_; }
  void* static_shared(const void* key, std::size_t bytes, std::size_t alignment);
  /// op: 0 plain, 1 and, 2 or, 3 count.
  int syncthreads(int op, int predicate, Where where);
  void named_barrier(unsigned id, unsigned threads, bool wait, Where where);
  void collective(const char* name, std::uint32_t mask, Where where, void* arguments, Rendezvous::Complete complete);
  void copy_async(void* target, const void* source, std::size_t bytes, std::size_t valid);
  void commit_copies();
  void wait_copies(std::size_t pending);
  void yield();
  void count_warp_barrier(unsigned warp) { races_.warp_barrier(warp); }

  /// Stops the launch: "<kernel>, block (x,y,z), thread (x,y,z): what".
  [[noreturn]] void fail(const std::string& what);

 private:
  struct StaticShared {
    const void* key;
    void* memory;
  };
  static void enter(boost::context::detail::transfer_t transfer);
  void switch_out();
  void wait(const char* what, Where where, std::uint32_t mask = 0);
  void wake(unsigned thread);
  void finish_thread();
  void land(const PendingCopy& copy);
  void reserve(unsigned threads);
  std::string describe_waits() const;
  std::size_t shared_offset(const void* address) const {
    return reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(shared_);
  }
  void report(const RaceDetector::Conflict& conflict, std::size_t offset, const char* what);

  const char* kernel_ = "";
  FunctionRef<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> ready_;
  unsigned count_ = 0, running_ = 0, alive_ = 0;
  std::uint64_t random_ = 1;
  boost::context::detail::fcontext_t scheduler_ = nullptr;
  std::string defect_;

  std::byte* stacks_ = nullptr;
  unsigned stack_count_ = 0;
  std::byte* shared_ = nullptr;
  std::size_t shared_used_ = 0;
  std::vector<StaticShared> statics_;
  RaceDetector races_;
  Extent last_buffer_;
  std::uint64_t buffers_version_ = 0;

  unsigned barrier_arrived_ = 0;
  int barrier_op_ = 0, barrier_count_ = 0, barrier_result_ = 0;
  Where barrier_where_;
  NamedBarrier named_[16];
  std::vector<Rendezvous> rendezvous_[kMaxWarps];
};

}  // namespace retort::simt
