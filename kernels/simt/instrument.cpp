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

inline void seen(const void* address, std::size_t bytes, AccessKind kind) {
  if (Block* const block = Block::current()) block->access(reinterpret_cast<std::uintptr_t>(address), bytes, kind);
}

/// An access that may be misaligned, as the compiler says (two neighbouring floats read at once, say): it is checked in
/// aligned pieces.
inline void seen_unaligned(const void* address, std::size_t bytes, AccessKind kind) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const std::size_t piece = std::min<std::size_t>(bytes, start & (~start + 1));
  for (std::size_t done = 0; done < bytes; done += piece) seen(static_cast<const char*>(address) + done, piece, kind);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the names that the compiler calls
extern "C" {

#define RETORT_ACCESS(bytes)                                                                               \
  void __tsan_read##bytes(void* address) { seen(address, bytes, AccessKind::read); }                       \
  void __tsan_write##bytes(void* address) { seen(address, bytes, AccessKind::write); }                     \
  void __tsan_read_write##bytes(void* address) { seen(address, bytes, AccessKind::write); }                \
  void __tsan_unaligned_read##bytes(void* address) { seen_unaligned(address, bytes, AccessKind::read); }   \
  void __tsan_unaligned_write##bytes(void* address) { seen_unaligned(address, bytes, AccessKind::write); } \
  void __tsan_volatile_read##bytes(void* address) { seen(address, bytes, AccessKind::read); }              \
  void __tsan_volatile_write##bytes(void* address) { seen(address, bytes, AccessKind::write); }
RETORT_ACCESS(1)
RETORT_ACCESS(2)
RETORT_ACCESS(4)
RETORT_ACCESS(8)
RETORT_ACCESS(16)
#undef RETORT_ACCESS

// Copies of structs; a range is checked as one access.
void __tsan_read_range(void* address, std::size_t bytes) { seen(address, bytes, AccessKind::read); }
void __tsan_write_range(void* address, std::size_t bytes) { seen(address, bytes, AccessKind::write); }
void* __tsan_memcpy(void* target, const void* source, std::size_t bytes) {
  seen(source, bytes, AccessKind::read);
  seen(target, bytes, AccessKind::write);
  return std::memcpy(target, source, bytes);
}
void* __tsan_memmove(void* target, const void* source, std::size_t bytes) {
  seen(source, bytes, AccessKind::read);
  seen(target, bytes, AccessKind::write);
  return std::memmove(target, source, bytes);
}
void* __tsan_memset(void* target, int value, std::size_t bytes) {
  seen(target, bytes, AccessKind::write);
  return std::memset(target, value, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
