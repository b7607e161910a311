// Runs one block: switches between its fibers, holds them at barriers and warp operations, and checks each access.
#include "kernels/simt/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "kernels/simt/hopper.h"
#include "kernels/simt/source_lines.h"

namespace retort::simt {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::size_t kStaticSharedBytes = 48 * 1024;

thread_local Block* running_block = nullptr;

std::string position(Dim3 at) {
  std::string text;
  text.append("(").append(std::to_string(at.x)).append(",").append(std::to_string(at.y));
  return text.append(",").append(std::to_string(at.z)).append(")");
}

/// An access of a machine word that does not lie at a multiple of its size; others are ranges.
bool misaligned(std::uintptr_t address, std::size_t bytes) {
  return bytes <= 16 && (bytes & (bytes - 1)) == 0 && address % bytes != 0;
}

std::byte* map_memory(std::size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

}  // namespace

std::string to_string(Where where) {
  if (!where.file) return "none";
  const char* const slash = std::strrchr(where.file, '/');
  return std::string(slash ? slash + 1 : where.file) + ":" + std::to_string(where.line);
}

Block* Block::current() { return running_block; }

Block::Block() : hopper_(std::make_unique<Hopper>(*this)) {}

Block::~Block() {
  if (shared_) munmap(shared_, kSharedBytes);
  if (stacks_) munmap(stacks_, stack_count_ * kStackBytes);
}

void Block::reserve(unsigned threads) {
  if (!shared_) shared_ = map_memory(kSharedBytes);
  if (threads > stack_count_) {
    if (stacks_) munmap(stacks_, stack_count_ * kStackBytes);
    stack_count_ = 0;
    stacks_ = map_memory(threads * kStackBytes);
    stack_count_ = threads;
  }
  if (threads > threads_.size()) threads_.resize(threads);
}

std::string Block::run(const char* kernel, Dim3 grid_size, Dim3 block_size, Dim3 block_index, std::size_t dynamic_bytes,
                       std::uint64_t seed, LaunchCounter* counter, FunctionRef<void()> body) {
  kernel_ = kernel;
  grid = grid_size;
  size = block_size;
  index = block_index;
  body_ = &body;
  count_ = alive_ = size.x * size.y * size.z;
  random_ = seed * 2 + 1;
  defect_.clear();
  stopped_ = checking_ = false;
  race_.reset();
  reserve(count_);
  std::memset(shared_, 0xFF, dynamic_bytes);
  shared_used_ = dynamic_bytes;
  statics_.clear();
  const unsigned warps = (count_ + kLanes - 1) / kLanes;
  races_.start_block(warps, kSharedBytes);
  hopper_->start_block(count_);
  counting_ = counter != nullptr;
  if (counting_) counter_.start(*counter, warps);
  if (buffers_version_ != buffers_version()) {
    buffers_version_ = buffers_version();
    last_buffer_ = {};
  }
  barrier_arrived_ = 0;
  for (NamedBarrier& barrier : named_) barrier = {};
  for (auto& pending : rendezvous_) pending.clear();
  ready_.clear();
  for (unsigned id = 0; id < count_; ++id) {
    Thread& thread = threads_[id];
    thread = {};
    thread.id = id;
    thread.index = {id % size.x, id / size.x % size.y, id / (size.x * size.y)};
    thread.context = make_fcontext(stacks_ + (id + 1) * kStackBytes, kStackBytes, enter);
    ready_.push_back(id);
  }

  running_block = this;
  while (!stopped_) {
    if (ready_.empty()) {
      if (!hopper_->land_one()) break;
      continue;
    }
    const std::size_t pick = draw() % ready_.size();
    running_ = ready_[pick];
    ready_[pick] = ready_.back();
    ready_.pop_back();
    threads_[running_].context = jump_fcontext(threads_[running_].context, this).fctx;
  }
  running_block = nullptr;
  if (defect_.empty() && race_) defect_ = describe(race_->who, race_->what + ": race", race_->barrier);
  if (defect_.empty() && alive_ > 0)
    defect_ =
        std::string(kernel_) + ", block " + position(index) + ": deadlock; " + describe_waits() + hopper_->describe();
  if (defect_.empty() && hopper_->used()) defect_ = hopper_->finish_block();
  if (counting_ && defect_.empty()) counter_.finish(shared_used_);
  return defect_;
}

std::uint64_t Block::draw() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

void Block::enter(transfer_t transfer) {
  Block& block = *static_cast<Block*>(transfer.data);
  block.scheduler_ = transfer.fctx;
  (*block.body_)();
  block.finish_thread();
}

void Block::finish_thread() {
  Thread& self = thread();
  commit_copies();
  wait_copies(0);
  if (hopper_->used()) hopper_->finish_thread();
  self.done = true;
  --alive_;
  if (counting_) counter_.copies_of_a_thread(self.most_copying);
  if (barrier_arrived_ > 0 && barrier_arrived_ == alive_)
    fail_divergent("returns while " + std::to_string(barrier_arrived_) + " threads wait at __syncthreads " +
                   to_string(barrier_where_));
  for (const Rendezvous& pending : rendezvous_[warp()])
    if (pending.mask >> lane() & 1)
      fail("returns while its lane is in the mask of " + std::string(pending.name) + " " + to_string(pending.where));
  switch_out();
}

void Block::switch_out() { scheduler_ = jump_fcontext(scheduler_, nullptr).fctx; }

void Block::wait(const char* what, Where where, std::uint32_t mask) {
  Thread& self = thread();
  self.waiting = true;
  self.waits_for = what;
  self.where = where;
  self.mask = mask;
  switch_out();
}

void Block::wake(unsigned id) {
  threads_[id].waiting = false;
  ready_.push_back(id);
}

void Block::yield() {
  ready_.push_back(running_);
  switch_out();
}

std::string Block::self() const { return "thread " + position(threads_[running_].index); }

std::string Block::describe(const std::string& who, const std::string& what, Where barrier) const {
  return std::string(kernel_) + ", block " + position(index) + ", " + who + ": " + what +
         "; its last barrier: " + to_string(barrier);
}

void Block::fail(const std::string& what) {
  // What follows a race may be of its making: then run() tells of the race.
  if (!race_) defect_ = describe(self(), what, thread().where);
  stopped_ = true;
  // The fiber is never resumed: a kernel's frames own nothing.
  for (;;) switch_out();
}

void Block::fail_divergent(const std::string& what) {
  const std::optional<Race> race = std::exchange(race_, {});
  fail(what + ": divergent barrier" + (race ? ", and so " + race->who + " " + race->what : ""));
}

std::string Block::describe_waits() const {
  std::string text;
  for (unsigned begin = 0; begin < count_;) {
    const Thread& first = threads_[begin];
    unsigned end = begin + 1;
    while (end < count_ && threads_[end].done == first.done &&
           (first.done || (threads_[end].where.line == first.where.line && threads_[end].mask == first.mask)))
      ++end;
    if (!text.empty()) text += ", ";
    text += "threads " + std::to_string(begin) + " to " + std::to_string(end - 1);
    if (first.done) {
      text += " have returned";
    } else {
      text += std::string(" wait at ") + (first.waits_for ? first.waits_for : "?") + " " + to_string(first.where);
      if (first.mask) text += " with mask " + std::to_string(first.mask);
    }
    begin = end;
    if (text.size() > 400) return text + ", ...";
  }
  return text;
}

std::string Block::name_shared(std::size_t offset) const {
  for (const StaticShared& array : statics_) {
    const std::size_t begin = shared_offset(array.memory);
    if (offset < begin || offset >= begin + array.bytes) continue;
    // "... [with T = kernel(int)::Shared]": the last part of the name.
    std::string_view type(array.type);
    type = type.substr(0, type.rfind(']'));
    type = type.substr(type.find_last_of(":= ") + 1);
    return std::string(type) + ", shared memory, at byte " + std::to_string(offset - begin);
  }
  return "dynamic shared memory at byte " + std::to_string(offset);
}

void Block::report(const RaceDetector::Conflict& conflict, std::size_t offset, const char* what, CodePlace place) {
  const auto at = [](CodePlace where) {
    const std::string line = source_line(where);
    return line.empty() ? line : " at " + line;
  };
  if (race_) return;
  const std::string text = std::string(what) + " " + name_shared(offset) + at(place);
  if (conflict.pending)
    fail(text + " while an asynchronous copy into it" + at(conflict.place) + " has not been waited for");
  if (conflict.warp == kCopyEngine)
    fail(text + ", which a bulk load" + at(conflict.place) + " wrote and this thread has not waited for");
  const unsigned other = conflict.warp * kLanes + conflict.lane;
  constexpr std::uint64_t kPatience = 1 << 20;
  race_ = Race{self(),
               text + ", which thread " + position(threads_[other].index) + (conflict.with_write ? " wrote" : " read") +
                   at(conflict.place) + " with no barrier between",
               thread().where, kPatience};
}

Space Block::check(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from) {
  // The linker may take a string's code for what follows from a file of kernels, where it calls this.
  if (checking_) return Space::own;
  checking_ = true;
  const Space space = check_access(address, bytes, kind, from);
  checking_ = false;
  return space;
}

Space Block::check_access(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from) {
  static constexpr const char* kVerbs[] = {"reads", "writes", "updates"};
  const char* const verb = kVerbs[static_cast<int>(kind)];
  if (race_ && race_->patience-- == 0) fail("does not end after a race");
  const std::size_t offset = address - reinterpret_cast<std::uintptr_t>(shared_);
  if (offset < kSharedBytes) {
    if (offset + bytes > shared_used_)
      fail(std::string(verb) + " " + std::to_string(bytes) + " bytes of shared memory at byte " +
           std::to_string(offset) + ", beyond the block's " + std::to_string(shared_used_) + " bytes");
    if (misaligned(address, bytes))
      fail(std::string(verb) + " " + std::to_string(bytes) + " bytes of shared memory at byte " +
           std::to_string(offset) + ": misaligned");
    const CodePlace place = code_place(from);
    if (hopper_->used()) hopper_->touch_shared(offset, bytes, kind, place);
    const auto conflict = races_.access(warp(), lane(), offset, bytes, kind, place);
    if (conflict.found) report(conflict, offset, verb, place);
    return Space::shared;
  }
  const std::uintptr_t stack = reinterpret_cast<std::uintptr_t>(stacks_) + running_ * kStackBytes;
  if (address - stack < kStackBytes) {
    if (hopper_->used()) hopper_->touch_own(address, bytes, kind, code_place(from));
    return Space::own;
  }
  const Extent buffer = find_buffer(address, bytes, last_buffer_);
  if (!buffer.begin) {
    const std::uintptr_t stacks = reinterpret_cast<std::uintptr_t>(stacks_);
    const bool other_stack = address - stacks < stack_count_ * kStackBytes;
    fail(std::string(verb) + " " + std::to_string(bytes) + " bytes " +
         (other_stack ? "of another thread's local memory" : describe_address(address)));
  }
  if (misaligned(address, bytes))
    fail(std::string(verb) + " " + std::to_string(bytes) + " bytes at byte " + std::to_string(address - buffer.begin) +
         " of a buffer: misaligned");
  last_buffer_ = buffer;
  return Space::global;
}

void Block::access_in_pieces(std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from,
                             std::size_t checked, std::size_t counted) {
  Space space = Space::own;
  for (std::size_t done = 0; done < bytes; done += checked)
    space = check(address + done, std::min(checked, bytes - done), kind, from);
  if (!counting_) return;
  for (std::size_t done = 0; done < bytes; done += counted)
    count(space, address + done, std::min(counted, bytes - done), kind, from);
}

std::uint64_t Block::place_with_calls(const void* from) const {
  std::uint64_t place = reinterpret_cast<std::uintptr_t>(from);
  for (const void* const call : threads_[running_].calls)
    place = (place ^ reinterpret_cast<std::uintptr_t>(call)) * 0x9E3779B97F4A7C15u;
  return place;
}

void Block::count(Space space, std::uintptr_t address, std::size_t bytes, AccessKind kind, const void* from) {
  if (space == Space::own) return;
  counter_.access(warp(), lane(), place_with_calls(from), space, kind,
                  space == Space::shared ? address - reinterpret_cast<std::uintptr_t>(shared_) : address, bytes);
}

void Block::count_matrix(const void* const (&rows)[8]) {
  if (!counting_) return;
  std::uint32_t offsets[8];
  for (std::size_t i = 0; i < 8; ++i) offsets[i] = static_cast<std::uint32_t>(shared_offset(rows[i]));
  counter_.load_matrix(offsets);
}

void* Block::static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* type) {
  for (const StaticShared& known : statics_)
    if (known.key == key) return known.memory;
  const std::size_t begin = (shared_used_ + alignment - 1) / alignment * alignment;
  if (bytes > kStaticSharedBytes || begin + bytes > kSharedBytes)
    fail("needs " + std::to_string(bytes) + " bytes of static shared memory; 48 KiB are the most");
  shared_used_ = begin + bytes;
  std::memset(shared_ + begin, 0xFF, bytes);
  statics_.push_back({key, shared_ + begin, bytes, type});
  return shared_ + begin;
}

int Block::syncthreads(int op, int predicate, Where where) {
  if (alive_ < count_)
    fail_divergent("reaches __syncthreads " + to_string(where) + " after " + std::to_string(count_ - alive_) +
                   " threads have returned");
  if (barrier_arrived_ == 0) {
    barrier_where_ = where;
    barrier_op_ = op;
    barrier_count_ = 0;
  } else if (barrier_where_.line != where.line || std::strcmp(barrier_where_.file, where.file) != 0) {
    fail_divergent("reaches __syncthreads " + to_string(where) + " while others wait at __syncthreads " +
                   to_string(barrier_where_));
  }
  barrier_count_ += predicate != 0;
  if (++barrier_arrived_ < count_) {
    wait("__syncthreads", where);
  } else {
    barrier_arrived_ = 0;
    const bool all = barrier_count_ == static_cast<int>(count_), any = barrier_count_ > 0;
    barrier_result_ = barrier_op_ == 1 ? all : barrier_op_ == 2 ? any : barrier_count_;
    races_.barrier();
    if (counting_)
      for (unsigned w = 0; w * kLanes < count_; ++w) counter_.meet(w);
    thread().where = where;
    for (unsigned id = 0; id < count_; ++id)
      if (id != running_) wake(id);
    // Another thread than the last to arrive may be the first to go on.
    yield();
  }
  return barrier_result_;
}

void Block::named_barrier(unsigned id, unsigned threads, bool blocks, Where where) {
  if (id >= 16 || threads == 0 || threads % kLanes != 0)
    fail("uses barrier " + std::to_string(id) + " with " + std::to_string(threads) +
         " threads; barriers are 0 to 15, threads a multiple of 32");
  NamedBarrier& barrier = named_[id];
  if (barrier.arrived > 0 && barrier.expected != threads)
    fail("expects " + std::to_string(threads) + " threads at barrier " + std::to_string(id) + " " + to_string(where) +
         ", others expect " + std::to_string(barrier.expected));
  barrier.expected = threads;
  races_.release(warp(), barrier.clock);
  if (blocks) barrier.waiting.push_back(running_);
  if (++barrier.arrived < threads) {
    if (blocks) wait("named barrier", where);
    return;
  }
  const NamedBarrier complete = std::move(barrier);
  barrier = {};
  unsigned met[kMaxWarps] = {};  // lanes
  for (const unsigned id_waiting : complete.waiting) {
    races_.acquire(id_waiting / kLanes, complete.clock);
    if (counting_ && ++met[id_waiting / kLanes] == lanes_of(id_waiting / kLanes)) counter_.meet(id_waiting / kLanes);
    if (id_waiting != running_) wake(id_waiting);
  }
  thread().where = where;
  if (blocks) yield();
}

void Block::collective(const char* name, std::uint32_t mask, Where where, void* arguments,
                       Rendezvous::Complete complete) {
  const unsigned w = warp(), l = lane();
  if (!(mask >> l & 1)) fail(std::string(name) + " " + to_string(where) + ": its own lane is not in the mask");
  for (unsigned other = 0; other < kLanes; ++other) {
    if (!(mask >> other & 1)) continue;
    const unsigned id = w * kLanes + other;
    if (id >= count_ || threads_[id].done)
      fail(std::string(name) + " " + to_string(where) + ": lane " + std::to_string(other) + " is in the mask and has " +
           (id >= count_ ? "no thread" : "returned"));
  }
  auto& pending = rendezvous_[w];
  std::size_t at = 0;
  while (at < pending.size() && !(pending[at].complete == complete && pending[at].mask == mask &&
                                  pending[at].where.line == where.line && pending[at].where.file == where.file))
    ++at;
  if (at == pending.size()) {
    Rendezvous fresh{name, complete, mask, 0, where, {}};
    pending.push_back(fresh);
  }
  pending[at].lanes[l] = arguments;
  pending[at].arrived |= 1u << l;
  if (pending[at].arrived != mask) {
    wait(name, where, mask);
    return;
  }
  Rendezvous met = pending[at];
  pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(at));
  thread().where = where;
  complete(*this, w, met);
  if (counting_ && static_cast<unsigned>(std::popcount(mask)) == lanes_of(w)) counter_.meet(w);
  for (unsigned other = 0; other < kLanes; ++other)
    if (other != l && mask >> other & 1) wake(w * kLanes + other);
  yield();
}

void Block::copy_async(void* target, const void* source, std::size_t bytes, std::size_t valid, const void* from) {
  const std::size_t offset = shared_offset(target);
  if (offset >= kSharedBytes || offset + bytes > shared_used_)
    fail("cp.async: the target is not in the block's shared memory");
  if (offset % bytes != 0 || (valid && reinterpret_cast<std::uintptr_t>(source) % bytes != 0))
    fail("cp.async of " + std::to_string(bytes) + " bytes: misaligned");
  if (valid) check(reinterpret_cast<std::uintptr_t>(source), valid, AccessKind::read, from);
  const CodePlace place = code_place(from);
  const auto conflict = races_.issue(warp(), lane(), offset, bytes, place);
  if (conflict.found) report(conflict, offset, "copies to", place);
  Thread& self = thread();
  self.open.push_back({target, source, bytes, valid, place});
  if (!counting_) return;
  counter_.copy(warp(), lane(), place_with_calls(from), reinterpret_cast<std::uintptr_t>(source),
                static_cast<std::uint32_t>(offset), bytes, valid > 0);
  self.copying += bytes;
  self.most_copying = std::max(self.most_copying, self.copying);
}

void Block::commit_copies() {
  Thread& self = thread();
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

void Block::wait_copies(std::size_t pending) {
  Thread& self = thread();
  while (self.groups.size() > pending) {
    for (const PendingCopy& copy : self.groups.front()) land(copy);
    self.groups.erase(self.groups.begin());
  }
}

void Block::land(const PendingCopy& copy) {
  if (copy.valid) std::memcpy(copy.target, copy.source, copy.valid);
  std::memset(static_cast<std::byte*>(copy.target) + copy.valid, 0, copy.bytes - copy.valid);
  const std::size_t offset = shared_offset(copy.target);
  if (counting_) thread().copying -= copy.bytes;
  const auto conflict = races_.land(warp(), lane(), offset, copy.bytes, copy.place);
  if (conflict.found) report(conflict, offset, "copies to", copy.place);
}

}  // namespace retort::simt
