#include "engine/core/arena.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <new>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/memory_limit.h"
#include "engine/core/pages.h"
#include "kernels/memory.h"

// Under AddressSanitizer, memory outside live blocks is poisoned and blocks are kept apart, so that a kernel that runs
// over the end of a tensor is caught.
#if defined(__SANITIZE_ADDRESS__)
#define RETORT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RETORT_ASAN 1
#endif
#endif
#ifdef RETORT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace retort {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line; a device's vector loads need 16
constexpr std::size_t kChunk = std::size_t{64} << 20;
// Smaller blocks are cut from the end of a free one, larger ones from its beginning, so that short-lived scratch leaves
// no holes between activations.
constexpr std::size_t kLarge = std::size_t{16} << 20;

#ifdef RETORT_ASAN
constexpr std::size_t kGap = kAlignment;
void poison(const void* address, std::size_t bytes) { ASAN_POISON_MEMORY_REGION(address, bytes); }
void unpoison(const void* address, std::size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(address, bytes); }
#else
constexpr std::size_t kGap = 0;
void poison(const void*, std::size_t) {}
void unpoison(const void*, std::size_t) {}
#endif

std::size_t round_up(std::size_t bytes, std::size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

}  // namespace

Arena::Arena() {
  MemoryLimit limit = memory_limit();
  limit_ = limit.bytes;
  origin_ = std::move(limit.origin);
}

Arena::Arena(Device device)
    : device_(device), limit_(std::numeric_limits<std::size_t>::max() / 2), origin_("a device") {}

Arena::~Arena() {
  for (const auto& [chunk, bytes] : chunks_) {
    if (device_ != Device::cpu) {
      memory_of(device_).release(chunk);
      continue;
    }
    unpoison(chunk, bytes);
    unmap_pages(static_cast<std::byte*>(chunk), bytes);
  }
}

void* Arena::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto out_of_memory = [&](const std::string& limit) {
    return OutOfMemory(text("out of memory: asked for ", human_bytes(bytes), " with ",
                            human_bytes(statistics_.used_bytes), " in use", limit, "; try smaller batches or images"));
  };
  const auto limit_reached = [&] {
    return out_of_memory(text(" of the ", human_bytes(limit_), " that ", origin_, " allows"));
  };
  if (bytes > limit_) throw limit_reached();
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1) + kGap, kAlignment);
  if (statistics_.used_bytes + size > limit_) throw limit_reached();
  auto found = free_.lower_bound({size, nullptr});
  if (found == free_.end()) {
    if (!add_chunk(size)) throw out_of_memory("");
    found = free_.lower_bound({size, nullptr});
  }
  std::byte* address = found->second;
  free_.erase(found);
  Block& block = blocks_.at(address);
  if (const std::size_t rest = block.bytes - size; rest == 0) {
    block.free = false;
  } else if (size < kLarge) {
    block.bytes = rest;
    free_.emplace(rest, address);
    address += rest;
    blocks_.emplace(address, Block{size, false, false});
  } else {
    block = {size, false, block.first};
    blocks_.emplace(address + size, Block{rest, true, false});
    free_.emplace(rest, address + size);
  }
  statistics_.used_bytes += size;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.used_bytes);
  if (device_ == Device::cpu) unpoison(address, bytes);
  return address;
}

void Arena::release(void* pointer) noexcept {
  if (!pointer) return;
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(static_cast<std::byte*>(pointer));
  const Block block = found->second;
  blocks_.erase(found);
  if (device_ == Device::cpu) poison(pointer, block.bytes);
  statistics_.used_bytes -= block.bytes;
  try {
    add_free(static_cast<std::byte*>(pointer), block);
  } catch (const std::bad_alloc&) {  // no memory to note that it is free: it stays out of use
  }
}

void Arena::add_free(std::byte* address, Block block) {
  block.free = true;
  auto next = blocks_.lower_bound(address);
  if (next != blocks_.end() && next->second.free && !next->second.first && address + block.bytes == next->first) {
    block.bytes += next->second.bytes;
    free_.erase({next->second.bytes, next->first});
    next = blocks_.erase(next);
  }
  if (!block.first && next != blocks_.begin()) {
    const auto previous = std::prev(next);
    if (previous->second.free) {
      free_.erase({previous->second.bytes, previous->first});
      previous->second.bytes += block.bytes;
      free_.emplace(previous->second.bytes, previous->first);
      return;
    }
  }
  blocks_.emplace_hint(next, address, block);
  free_.emplace(block.bytes, address);
}

bool Arena::add_chunk(std::size_t bytes) {
  const std::size_t size = std::max(kChunk, round_up(bytes, kHugePage));
  if (device_ != Device::cpu) {
    try {
      auto* const chunk = static_cast<std::byte*>(memory_of(device_).allocate(size));
      chunks_.emplace_back(chunk, size);
      statistics_.reserved_bytes += size;
      add_free(chunk, {size, true, true});
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  // Linux maps downwards: right below the lowest chunk there is usually room, and then the two chunks are as one. What
  // is free at its beginning need not be mapped again.
  const auto take = [&](std::byte* pages, std::size_t mapped) {
    chunks_.emplace_back(pages, mapped);
    statistics_.reserved_bytes += mapped;
    poison(pages, mapped);
    add_free(pages, {mapped, true, true});
  };
  if (const auto lowest = blocks_.begin(); lowest != blocks_.end()) {
    const std::size_t free = lowest->second.free ? std::min(bytes, lowest->second.bytes) : 0;
    const std::size_t missing = std::max(kChunk, round_up(bytes - free, kHugePage));
    std::byte* const hint = lowest->first - missing;
    std::byte* const pages = map_pages(hint, missing);
    if (pages == hint) {
      lowest->second.first = false;
      take(pages, missing);
      return true;
    }
    if (pages && missing == size) {
      take(pages, size);
      return true;
    }
    if (pages) unmap_pages(pages, missing);
  }
  std::byte* const pages = map_pages(nullptr, size);
  if (!pages) return false;
  take(pages, size);
  return true;
}

Arena::Statistics Arena::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void Arena::reset_peak() {
  const std::lock_guard lock(mutex_);
  statistics_.peak_bytes = statistics_.used_bytes;
}

Arena& cpu_arena() {
  // Never destroyed: tensors with static storage may outlive any order of destruction.
  static Arena& arena = *new Arena;
  return arena;
}

namespace {

Arena& cuda_arena() {
  static Arena& arena = *new Arena(Device::cuda);
  return arena;
}

}  // namespace

namespace {

/// The arena in scope on this thread, or null.
Arena*& scoped_arena(Device device) {
  thread_local Arena* arenas[4] = {};
  return arenas[static_cast<int>(device)];
}

}  // namespace

MemoryBlock::MemoryBlock(Device device, std::size_t bytes) : device_(device), arena_(scoped_arena(device)) {
  if (!arena_ && device != Device::simt) arena_ = device == Device::cuda ? &cuda_arena() : &cpu_arena();
  data_ = arena_ ? arena_->allocate(bytes) : memory_of(device).allocate(bytes);
}

MemoryBlock::~MemoryBlock() {
  if (arena_)
    arena_->release(data_);
  else if (data_)
    memory_of(device_).release(data_);
}

ArenaScope::ArenaScope(Device device, Arena& arena)
    : device_(device), previous_(std::exchange(scoped_arena(device), &arena)) {}

ArenaScope::~ArenaScope() { scoped_arena(device_) = previous_; }

Arena::Statistics memory_statistics(Device device) {
  if (const Arena* arena = scoped_arena(device)) return arena->statistics();
  if (device == Device::simt) return {};
  return (device == Device::cuda ? cuda_arena() : cpu_arena()).statistics();
}

}  // namespace retort
