#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "engine/core/arena.h"
#include "engine/core/memory_limit.h"
#include "engine/distill/memory_plan.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::Scratch;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

/// RETORT_MEMORY_LIMIT while it lives.
class Variable {
 public:
  explicit Variable(const std::string& value) { setenv("RETORT_MEMORY_LIMIT", value.c_str(), 1); }
  ~Variable() { unsetenv("RETORT_MEMORY_LIMIT"); }
};

std::size_t held() { return cpu_arena().statistics().used_bytes; }

/// Holds one MiB, and so many an image more, while it works.
void work(std::int64_t images, std::size_t each) {
  const MemoryBlock fixed(Device::cpu, kMiB), rest(Device::cpu, static_cast<std::size_t>(images) * each);
}

}  // namespace

TEST_CASE("a control group's limit is the least of it and of those it lies in") {
  const Scratch scratch;
  const auto file = [&](const std::string& name, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(scratch / name).parent_path());
    scratch.write(name, content);
  };
  const std::string root = scratch / ".";
  file("memory.max", "max\n");
  file("a/memory.max", "3000\n");
  file("a/b/memory.max", "max\n");
  file("a/c/memory.max", "2000\n");
  CHECK(!group_limit("0::/\n", root));
  CHECK(!group_limit("", root));
  CHECK(!group_limit("12:cpu:/a\n", root));
  CHECK(group_limit("0::/a/b\n", root)->bytes == 3000);
  CHECK(group_limit("0::/a/c\n", root)->bytes == 2000);
  CHECK(group_limit("0::/a/c\n", root)->origin.ends_with("a/c/memory.max"));
  CHECK(group_limit("0::/a/not/there\n", root)->bytes == 3000);
  CHECK(!group_limit("0::/../../a\n", root));
  file("memory/memory.limit_in_bytes", "9223372036854771712\n");
  file("memory/d/memory.limit_in_bytes", "1000\n");
  CHECK(group_limit("5:cpu,cpuacct:/d\n4:memory:/d\n", root)->bytes == 1000);
  CHECK(group_limit("4:pids,memory:/elsewhere\n0::/a/b\n", root)->bytes == 3000);
}

TEST_CASE("RETORT_MEMORY_LIMIT is a number of bytes") {
  {
    const Variable variable("123456");
    CHECK(memory_limit().bytes == 123456);
    CHECK(memory_limit().origin == "RETORT_MEMORY_LIMIT");
  }
  CHECK(memory_limit().bytes > 64 * kMiB);
  for (const char* const value : {"", "0", "8G", "-1", "99999999999999999999999"}) {
    const Variable variable(value);
    CHECK(error_message([] { memory_limit(); }) ==
          text("RETORT_MEMORY_LIMIT: '", value, "' is no number of bytes above 0; give one such as 8000000000"));
  }
}

TEST_CASE("work that does not fit is refused with the largest batch that does") {
  // 1 MiB and 3 MiB an image, 1 of them beside: 96 images take 385.
  const auto images_of_two = [](std::int64_t images) { work(images, 2 * kMiB); };
  const auto refusal = [&](std::size_t limit, std::int64_t batch) {
    const Variable variable(std::to_string(held() + limit));
    return error_message([&] { check_fits(images_of_two, batch, kMiB); });
  };
  const auto largest = [&](const std::string& message) {
    const std::string words = "; the largest batch that fits is ";
    const std::size_t at = message.find(words);
    return at == std::string::npos ? 0 : std::atol(message.c_str() + at + words.size());
  };
  CHECK(refusal(386 * kMiB, 128) == "(nothing thrown)");
  CHECK(refusal(384 * kMiB, 128)
            .starts_with("--batch-size: 128 takes about 385.0 MiB of memory, where RETORT_MEMORY_LIMIT allows "));
  // Six images take 19; of the 281 that are left a tenth is kept back, and each further image takes 3.
  const std::int64_t fits = largest(refusal(300 * kMiB, 128));
  CHECK(fits == 91);
  CHECK(refusal(300 * kMiB, fits) == "(nothing thrown)");
  CHECK(largest(refusal(8 * kMiB, 128)) == 2);
  CHECK(refusal(6 * kMiB, 128).ends_with("; not even 2 images fit: take a smaller --image-size or network"));
  CHECK(refusal(3 * kMiB, 1).ends_with("; not even 1 image fits: take a smaller --image-size or network"));
  CHECK(refusal(5 * kMiB, 1) == "(nothing thrown)");
  // A batch that can be cut: 128 images in four parts are 32 at a time, which take 97; 24 in eight processes' parts.
  const auto cut_refusal = [&](std::size_t limit, BatchCut cut) {
    const Variable variable(std::to_string(held() + limit));
    return error_message([&] { check_fits(images_of_two, 128, kMiB, cut); });
  };
  CHECK(cut_refusal(98 * kMiB, {.accumulate = 4}) == "(nothing thrown)");
  const std::string parted = cut_refusal(60 * kMiB, {.accumulate = 4});
  CHECK(parted.starts_with("--batch-size: 128 in 4 parts takes about 97.0 MiB of memory"));
  CHECK(parted.ends_with("; the largest part that fits is 18; --accumulate 8 takes the batch in parts that fit"));
  CHECK(cut_refusal(60 * kMiB, {.accumulate = 8}) == "(nothing thrown)");
  CHECK(cut_refusal(60 * kMiB, {.accumulate = 1, .ranks = 2})
            .ends_with("; the largest part that fits is 18; --accumulate 4 takes the batch in parts that fit"));
  CHECK(cut_refusal(60 * kMiB, {})
            .ends_with("; the largest batch that fits is 18; --accumulate 8 takes the batch in parts that fit"));
}
