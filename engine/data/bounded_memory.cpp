#include "engine/data/bounded_memory.h"

#include <cstdlib>
#include <cstring>
#include <limits>

namespace retort::decoder {
namespace {

/// Before each block: its size, at the alignment that malloc gives.
struct alignas(std::max_align_t) Header {
  std::size_t bytes;
};

bool take(std::size_t bytes) {
  Budget& mine = budget();
  if (bytes > std::numeric_limits<std::size_t>::max() / 2 || bytes > mine.left) {
    mine.exceeded = true;
    return false;
  }
  mine.left -= bytes;
  return true;
}

}  // namespace

Budget& budget() {
  thread_local Budget mine;
  return mine;
}

void* allocate(std::size_t bytes) {
  if (!take(bytes)) return nullptr;
  auto* const header = static_cast<Header*>(std::calloc(1, sizeof(Header) + bytes));
  if (!header) {
    budget().left += bytes;
    return nullptr;
  }
  header->bytes = bytes;
  return header + 1;
}

void* reallocate(void* memory, std::size_t bytes) {
  if (!memory) return allocate(bytes);
  auto* const old = static_cast<Header*>(memory) - 1;
  const std::size_t before = old->bytes;
  if (bytes > before && !take(bytes - before)) return nullptr;
  auto* const header = static_cast<Header*>(std::realloc(old, sizeof(Header) + bytes));
  if (!header) {
    if (bytes > before) budget().left += bytes - before;
    return nullptr;
  }
  if (bytes > before)
    std::memset(reinterpret_cast<char*>(header + 1) + before, 0, bytes - before);
  else
    budget().left += before - bytes;
  header->bytes = bytes;
  return header + 1;
}

void release(void* memory) {
  if (!memory) return;
  auto* const header = static_cast<Header*>(memory) - 1;
  budget().left += header->bytes;
  std::free(header);
}

}  // namespace retort::decoder
