#include "engine/core/arena.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

/// RETORT_MEMORY_LIMIT for the arenas made while it lives.
class MemoryLimit {
 public:
  explicit MemoryLimit(const char* bytes) { setenv("RETORT_MEMORY_LIMIT", bytes, 1); }
  ~MemoryLimit() { unsetenv("RETORT_MEMORY_LIMIT"); }
};

}  // namespace

TEST_CASE("blocks are aligned, apart, and writable to their last byte") {
  Arena arena;
  const std::vector<std::size_t> sizes = {0, 1, 63, 64, 65, 1000, 70000};
  std::vector<std::byte*> blocks;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    auto* block = static_cast<std::byte*>(arena.allocate(sizes[i]));
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, static_cast<int>(i), sizes[i]);
    blocks.push_back(block);
  }
  for (std::size_t i = 0; i < sizes.size(); ++i)  // nobody wrote into another's
    CHECK(std::all_of(blocks[i], blocks[i] + sizes[i], [i](std::byte byte) { return byte == std::byte(i); }));
  for (std::byte* block : blocks) arena.release(block);
  CHECK(arena.statistics().used_bytes == 0);
}

TEST_CASE("freed neighbours merge, whatever the order they are freed in") {
  const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    Arena arena;
    void* const whole = arena.allocate(60 * kMiB);
    arena.release(whole);
    void* parts[3];
    for (void*& part : parts) part = arena.allocate(20 * kMiB - 64);
    for (const int i : order) arena.release(parts[i]);
    CHECK(arena.allocate(60 * kMiB) == whole);
    CHECK(arena.statistics().reserved_bytes == 64 * kMiB);
    arena.release(whole);
  }
}

TEST_CASE("the best fit is taken, the smallest hole that is large enough") {
  Arena arena;
  void* const large = arena.allocate(8 * kMiB);
  void* const fence1 = arena.allocate(64);
  void* const small = arena.allocate(2 * kMiB);
  void* const fence2 = arena.allocate(64);
  arena.release(large);
  arena.release(small);
  auto* const block = static_cast<std::byte*>(arena.allocate(1 * kMiB));
  CHECK(block >= small);
  CHECK(block < static_cast<std::byte*>(small) + 2 * kMiB);
  for (void* used : {static_cast<void*>(block), fence1, fence2}) arena.release(used);
}

TEST_CASE("large blocks come from the beginning of a hole, small ones from its end") {
  Arena arena;
  void* const hole = arena.allocate(50 * kMiB);
  void* const fence = arena.allocate(64);
  arena.release(hole);
  void* const small = arena.allocate(kMiB);
  void* const large = arena.allocate(20 * kMiB);
  CHECK(large == hole);
  CHECK(small > large);
  for (void* used : {small, large, fence}) arena.release(used);
}

TEST_CASE("used, peak and reserved bytes") {
  Arena arena;
  CHECK(arena.statistics().reserved_bytes == 0);
  void* const a = arena.allocate(kMiB);
  const std::size_t one = arena.statistics().used_bytes;
  CHECK(one >= kMiB);
  CHECK(one <= kMiB + 128);
  void* const b = arena.allocate(kMiB);
  arena.release(a);
  CHECK(arena.statistics().used_bytes == one);
  CHECK(arena.statistics().peak_bytes == 2 * one);
  arena.reset_peak();
  CHECK(arena.statistics().peak_bytes == one);
  arena.release(b);
  CHECK(arena.statistics().used_bytes == 0);
  CHECK(arena.statistics().peak_bytes == one);
  CHECK(arena.statistics().reserved_bytes == 64 * kMiB);
  // A block larger than a chunk gets a chunk of its own size.
  arena.release(arena.allocate(200 * kMiB));
  CHECK(arena.statistics().reserved_bytes >= 200 * kMiB);
}

TEST_CASE("the second time, the same steps run in the same memory") {
  Arena arena;
  const auto run = [&arena] {
    std::vector<void*> live;
    Random random(7);
    for (int i = 0; i < 2000; ++i) {
      if (live.size() < 40 || random.below(2)) {
        live.push_back(arena.allocate(random.below(4 * kMiB)));
      } else {
        std::swap(live[random.below(live.size())], live.back());
        arena.release(live.back());
        live.pop_back();
      }
    }
    for (void* block : live) arena.release(block);
    return arena.statistics().reserved_bytes;
  };
  const std::size_t first = run();
  CHECK(run() == first);
  CHECK(arena.statistics().used_bytes == 0);
}

TEST_CASE("several threads may allocate at once") {
  Arena arena;
  std::vector<std::thread> threads;
  std::vector<int> clean(4, 1);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&arena, &clean, t] {
      Random random(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 500; ++i) {
        const std::size_t bytes = 1 + random.below(10000);
        auto* block = static_cast<unsigned char*>(arena.allocate(bytes));
        std::memset(block, t, bytes);
        for (std::size_t j = 0; j < bytes; ++j) clean[static_cast<std::size_t>(t)] &= block[j] == t;
        arena.release(block);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const int ok : clean) CHECK(ok == 1);
  CHECK(arena.statistics().used_bytes == 0);
}

TEST_CASE("out of memory: one line with what was asked for, what is held, and what to do") {
  const MemoryLimit limit("104857600");  // 100 MiB
  Arena arena;
  void* const held = arena.allocate(64 * kMiB - 128);
  CHECK(error_message([&] { arena.allocate(48 * kMiB); }) ==
        "out of memory: asked for 48.0 MiB with 64.0 MiB in use of the 100.0 MiB that RETORT_MEMORY_LIMIT allows; try "
        "smaller batches or images");
  CHECK_THROWS_AS(arena.allocate(48 * kMiB), Error);
  arena.release(arena.allocate(32 * kMiB));  // and goes on
  arena.release(held);
  CHECK(error_message([&] { arena.allocate(SIZE_MAX); }) ==
        "out of memory: asked for 16777216.0 TiB with 0 bytes in use of the 100.0 MiB that RETORT_MEMORY_LIMIT allows; "
        "try smaller batches or images");
  CHECK(arena.statistics().used_bytes == 0);
}

TEST_CASE("out of memory when the system refuses") {
  const MemoryLimit limit("18446744073709551615");
  Arena arena;
  CHECK(error_message([&] { arena.allocate(std::size_t{1} << 60); }) ==
        "out of memory: asked for 1048576.0 TiB with 0 bytes in use; try smaller batches or images");
}
