// Global memory of the simulator: allocates buffers with a gap behind each, and finds the buffer of an address.
#include "kernels/simt/memory.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <shared_mutex>

#include "kernels/simt/simulator.h"

namespace retort::simt {
namespace {

constexpr std::size_t kAlignment = 256;
/// Kept free behind each buffer, so that an access beyond one does not fall into the next.
constexpr std::size_t kGap = 256;

struct Buffers {
  std::shared_mutex mutex;
  std::map<std::uintptr_t, std::size_t> bytes;  ///< by address
  std::map<std::uintptr_t, std::size_t> pages;  ///< of those mapped for a sample: bytes of their mappings
  std::atomic<std::uint64_t> version{1};
};

Buffers& buffers() {
  // Never destroyed: tensors with static storage may outlive any order of destruction.
  static Buffers& instance = *new Buffers;
  return instance;
}

/// Null if there is no room for more mappings. Small pages: a write takes one of them.
void* map_zeros(std::size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  return memory;
}

}  // namespace

void* allocate(std::size_t bytes) {
  const std::size_t size = (bytes + kGap + kAlignment - 1) / kAlignment * kAlignment;
  const bool sample = sampled_blocks() > 0;
  void* const buffer = sample ? map_zeros(size) : std::aligned_alloc(kAlignment, size);
  if (!buffer) throw std::bad_alloc();
  if (!sample) std::memset(buffer, 0xFF, size);
  const auto address = reinterpret_cast<std::uintptr_t>(buffer);
  const std::unique_lock lock(buffers().mutex);
  buffers().bytes[address] = bytes;
  if (sample) buffers().pages[address] = size;
  ++buffers().version;
  return buffer;
}

void release(void* buffer) noexcept {
  if (!buffer) return;
  std::size_t mapped = 0;
  {
    const std::unique_lock lock(buffers().mutex);
    const auto address = reinterpret_cast<std::uintptr_t>(buffer);
    buffers().bytes.erase(address);
    if (const auto pages = buffers().pages.find(address); pages != buffers().pages.end()) {
      mapped = pages->second;
      buffers().pages.erase(pages);
    }
    ++buffers().version;
  }
  if (mapped)
    munmap(buffer, mapped);
  else
    std::free(buffer);
}

Extent find_buffer(std::uintptr_t address, std::size_t bytes, Extent hint) {
  if (address >= hint.begin && address + bytes <= hint.end) return hint;
  const std::shared_lock lock(buffers().mutex);
  auto next = buffers().bytes.upper_bound(address);
  if (next == buffers().bytes.begin()) return {};
  const auto [begin, size] = *std::prev(next);
  if (address + bytes > begin + size) return {};
  return {begin, begin + size};
}

std::string describe_address(std::uintptr_t address) {
  const std::shared_lock lock(buffers().mutex);
  const auto next = buffers().bytes.upper_bound(address);
  if (next != buffers().bytes.begin()) {
    const auto [begin, size] = *std::prev(next);
    const std::uintptr_t end = begin + size;
    const std::string name = "a buffer of " + std::to_string(size) + " bytes";
    if (address < end) return std::to_string(end - address) + " bytes before the end of " + name;
    if (address - end < size + kGap) return std::to_string(address - end) + " bytes past the end of " + name;
  }
  if (next != buffers().bytes.end() && next->first - address <= kGap)
    return std::to_string(next->first - address) + " bytes before a buffer of " + std::to_string(next->second) +
           " bytes";
  return "outside every buffer";
}

std::uint64_t buffers_version() { return buffers().version.load(std::memory_order_acquire); }

}  // namespace retort::simt
