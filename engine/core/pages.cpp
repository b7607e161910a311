#include "engine/core/pages.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>

#include <cstdint>
#else
#include <new>
#endif

namespace retort {

#if defined(__unix__) || defined(__APPLE__)

std::byte* map_pages(std::byte* hint, std::size_t bytes) {
  const auto map = [](void* where, std::size_t size) {
    void* pages = mmap(where, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? nullptr : static_cast<std::byte*>(pages);
  };
  const auto misalignment = [](std::byte* pages) { return reinterpret_cast<std::uintptr_t>(pages) % kHugePage; };
  std::byte* pages = map(hint, bytes);
  if (pages && misalignment(pages) != 0) {
    munmap(pages, bytes);
    pages = map(nullptr, bytes + kHugePage);
    if (pages) {
      const std::size_t before = (kHugePage - misalignment(pages)) % kHugePage;
      if (before) munmap(pages, before);
      if (before < kHugePage) munmap(pages + before + bytes, kHugePage - before);
      pages += before;
    }
  }
#ifdef MADV_HUGEPAGE
  // A refusal costs speed only.
  if (pages) madvise(pages, bytes, MADV_HUGEPAGE);
#endif
  return pages;
}

void unmap_pages(std::byte* pages, std::size_t bytes) { munmap(pages, bytes); }

#else

std::byte* map_pages(std::byte*, std::size_t bytes) {
  return static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kHugePage}, std::nothrow));
}

void unmap_pages(std::byte* pages, std::size_t) { ::operator delete (pages, std::align_val_t{kHugePage}); }

#endif

}  // namespace retort
