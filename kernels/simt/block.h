// One block in flight: its fibers, barriers and warps. Internal to the simulator.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/simt/block_counter.h"
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
  CodePlace place;
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
  // While launches are counted:
  std::vector<const void*> calls;               ///< where the functions it is in were called, outermost first
  std::uint64_t copying = 0, most_copying = 0;  ///< bytes of copies under way, and the most there were
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

class Hopper;

class Block {
  friend Hopper;

 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs a block to its end on the calling OS thread. Returns the defect's description, or an empty string. `counter`
  /// may be null.
  std::string run(const char* kernel, Dim3 grid, Dim3 block, Dim3 index, std::size_t dynamic_bytes, std::uint64_t seed,
                  LaunchCounter* counter, FunctionRef<void()> body);

  /// The block that this OS thread runs, or null outside kernels.
  static Block* current();
  Hopper& hopper() { return *hopper_; }

  Dim3 grid, size, index;
  Thread& thread() { return threads_[running_]; }
  unsigned warp() const { return running_ / kLanes; }
  unsigned lane() const { return running_ % kLanes; }

  // What the running thread does. `from` is the return address of the call that says so.
  void access(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from) {
    const Space space = check(address, bytes, kind, from);
    if (counting_) count(space, address, bytes, kind, from);
  }
  /// The same of bytes that no GPU takes at once: checked in pieces, and counted in pieces.
  void access_in_pieces(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from,
                        std::size_t checked, std::size_t counted);
  /// Bytes of shared memory that a whole warp reads as 8 x 8 matrices: counted apart (load_matrix).
  void check_row(const void* row, const void* from) {
    check(reinterpret_cast<std::uintptr_t>(row), 16, AccessKind::read, from);
  }
  void* dynamic_shared() { return shared_; }
  /// `type`: a text that ends with the type's name in brackets.
  void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* type);
  /// op: 0 plain, 1 and, 2 or, 3 count.
  int syncthreads(int op, int predicate, Where where);
  void named_barrier(unsigned id, unsigned threads, bool wait, Where where);
  void collective(const char* name, std::uint32_t mask, Where where, void* arguments, Rendezvous::Complete complete);
  void copy_async(void* target, const void* source, std::size_t bytes, std::size_t valid, const void* from);
  void commit_copies();
  void wait_copies(std::size_t pending);
  void yield();
  void count_warp_barrier(unsigned warp) { races_.warp_barrier(warp); }
  void enter_function(const void* from) {
    if (counting_) thread().calls.push_back(from);
  }
  void leave_function() {
    if (counting_) thread().calls.pop_back();
  }
  /// Of the running thread's warp: one 8 x 8 matrix, the rows of which begin there.
  void count_matrix(const void* const (&rows)[8]);
  void count_bulk_row(std::uint64_t address, std::uint32_t bytes, bool stores, bool first) {
    if (counting_) counter_.bulk_row(address, bytes, stores, first);
  }
  void count_operands(std::uint64_t bytes) {
    if (counting_) counter_.operands(bytes);
  }
  void count_tensor(std::uint64_t flops, bool tf32) {
    if (counting_) counter_.tensor(flops, tf32);
  }

  /// Stops the launch: "<kernel>, block (x,y,z), thread (x,y,z): what".
  [[noreturn]] void fail(const std::string& what);
  /// The same of threads that are not all at one barrier, which a race may have come of.
  [[noreturn]] void fail_divergent(const std::string& what);

 private:
  struct StaticShared {
    const void* key;
    void* memory;
    std::size_t bytes;
    const char* type;
  };
  /// A race: kept while the block runs on, to see whether threads that miss a barrier are behind it.
  struct Race {
    std::string who;             ///< "thread (3,0,0)"
    std::string what;            ///< "reads ... with no barrier between"
    Where barrier;               ///< its last
    std::uint64_t patience = 0;  ///< accesses to memory until the block is stopped
  };
  static void enter(boost::context::detail::transfer_t transfer);
  void switch_out();
  void wait(const char* what, Where where, std::uint32_t mask = 0);
  void wake(unsigned thread);
  void finish_thread();
  void land(const PendingCopy& copy);
  void reserve(unsigned threads);
  /// Marsaglia's xorshift: any order will do, as long as the same seed gives the same one.
  std::uint64_t draw();
  std::string describe_waits() const;
  unsigned lanes_of(unsigned warp) const { return count_ - warp * kLanes < kLanes ? count_ - warp * kLanes : kLanes; }
  std::size_t shared_offset(const void* address) const {
    return reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(shared_);
  }
  Space check(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from);
  Space check_access(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from);
  void count(Space space, std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from);
  std::uint64_t place_with_calls(const void* from) const;
  /// Fails, or keeps a race.
  void report(const RaceDetector::Conflict& conflict, std::size_t offset, const char* what, CodePlace place);
  std::string name_shared(std::size_t offset) const;
  /// "thread (x,y,z)"
  std::string self() const;
  std::string describe(const std::string& who, const std::string& what, Where barrier) const;

  const char* kernel_ = "";
  FunctionRef<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> ready_;
  unsigned count_ = 0, running_ = 0, alive_ = 0;
  std::uint64_t random_ = 1;
  boost::context::detail::fcontext_t scheduler_ = nullptr;
  std::string defect_;
  bool stopped_ = false;
  std::optional<Race> race_;
  bool counting_ = false;
  bool checking_ = false;  ///< an access is looked at: until it is done, or for good where it fails
  BlockCounter counter_;

  std::byte* stacks_ = nullptr;
  unsigned stack_count_ = 0;
  std::byte* shared_ = nullptr;
  std::size_t shared_used_ = 0;
  std::vector<StaticShared> statics_;
  RaceDetector races_;
  Extent last_buffer_;
  std::uint64_t buffers_version_ = 0;

  std::unique_ptr<Hopper> hopper_;
  unsigned barrier_arrived_ = 0;
  int barrier_op_ = 0, barrier_count_ = 0, barrier_result_ = 0;
  Where barrier_where_;
  NamedBarrier named_[16];
  std::vector<Rendezvous> rendezvous_[kMaxWarps];
};

}  // namespace retort::simt
