// The entry points that -fsanitize=thread makes the compiler call before each load and store of kernel code. No
// sanitizer's runtime is linked: these take its place and hand each access to the block that runs.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/simt/block.h"

namespace {

using retort::simt::AccessKind;
using retort::simt::Block;
using retort::simt::counting_now;

inline void seen(const void* address, std::size_t bytes, AccessKind kind, const void* from) {
  if (Block* const block = Block::current())
    block->access(reinterpret_cast<std::uintptr_t>(address), bytes, kind, from);
}

/// An access that may be misaligned, as the compiler says (two neighbouring floats read at once, say): it is checked in
/// aligned pieces, and counted as the two elements, or the floats, that a GPU takes one by one.
inline void seen_unaligned(const void* address, std::size_t bytes, AccessKind kind, const void* from) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  if (Block* const block = Block::current())
    block->access_in_pieces(start, bytes, kind, from, std::min<std::size_t>(bytes, start & (~start + 1)),
                            std::clamp<std::size_t>(bytes / 2, 1, 4));
}

/// A struct, checked as one access; counted as the largest words that struct and address are made of.
inline void seen_range(const void* address, std::size_t bytes, AccessKind kind, const void* from) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const std::size_t both = start | bytes;
  if (Block* const block = Block::current(); block && bytes > 0)
    block->access_in_pieces(start, bytes, kind, from, bytes, std::min<std::size_t>(8, both & (~both + 1)));
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the names that the compiler calls
extern "C" {

#define RETORT_FROM __builtin_return_address(0)
#define RETORT_ACCESS(bytes)                                                                                          \
  void __tsan_read##bytes(void* address) { seen(address, bytes, AccessKind::read, RETORT_FROM); }                     \
  void __tsan_write##bytes(void* address) { seen(address, bytes, AccessKind::write, RETORT_FROM); }                   \
  void __tsan_read_write##bytes(void* address) { seen(address, bytes, AccessKind::write, RETORT_FROM); }              \
  void __tsan_unaligned_read##bytes(void* address) { seen_unaligned(address, bytes, AccessKind::read, RETORT_FROM); } \
  void __tsan_unaligned_write##bytes(void* address) {                                                                 \
    seen_unaligned(address, bytes, AccessKind::write, RETORT_FROM);                                                   \
  }                                                                                                                   \
  void __tsan_volatile_read##bytes(void* address) { seen(address, bytes, AccessKind::read, RETORT_FROM); }            \
  void __tsan_volatile_write##bytes(void* address) { seen(address, bytes, AccessKind::write, RETORT_FROM); }
RETORT_ACCESS(1)
RETORT_ACCESS(2)
RETORT_ACCESS(4)
RETORT_ACCESS(8)
RETORT_ACCESS(16)
#undef RETORT_ACCESS

// Copies of structs.
void __tsan_read_range(void* address, std::size_t bytes) { seen_range(address, bytes, AccessKind::read, RETORT_FROM); }
void __tsan_write_range(void* address, std::size_t bytes) {
  seen_range(address, bytes, AccessKind::write, RETORT_FROM);
}
void* __tsan_memcpy(void* target, const void* source, std::size_t bytes) {
  seen_range(source, bytes, AccessKind::read, RETORT_FROM);
  seen_range(target, bytes, AccessKind::write, RETORT_FROM);
  return std::memcpy(target, source, bytes);
}
void* __tsan_memmove(void* target, const void* source, std::size_t bytes) {
  seen_range(source, bytes, AccessKind::read, RETORT_FROM);
  seen_range(target, bytes, AccessKind::write, RETORT_FROM);
  return std::memmove(target, source, bytes);
}
void* __tsan_memset(void* target, int value, std::size_t bytes) {
  seen_range(target, bytes, AccessKind::write, RETORT_FROM);
  return std::memset(target, value, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void* from) {
  if (!counting_now.load(std::memory_order_relaxed)) return;
  if (Block* const block = Block::current()) block->enter_function(from);
}
void __tsan_func_exit() {
  if (!counting_now.load(std::memory_order_relaxed)) return;
  if (Block* const block = Block::current()) block->leave_function();
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
