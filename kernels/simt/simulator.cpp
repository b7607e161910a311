// Launches: walks over all blocks of a grid in an order drawn from the seed, and keeps what a capture records.
#include "kernels/simt/simulator.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/philox.h"
#include "kernels/simt/block.h"
#include "kernels/simt/block_counter.h"

namespace retort::simt {
namespace {

std::atomic<std::uint64_t> order_seed{1};
std::atomic<int> device_capability{80};
std::atomic<std::int64_t> blocks_of_a_sample{0};
std::atomic<std::size_t> free_bytes{0};

struct Capture {
  bool active = false;
  std::vector<std::function<void()>> work;
};
thread_local Capture capture;

}  // namespace

void begin_capture() {
  if (capture.active) throw Error("capture: begun while another is under way; end that first");
  capture.active = true;
}

std::vector<std::function<void()>> end_capture() {
  if (!capture.active) throw Error("capture: ended, but none was begun");
  capture.active = false;
  return std::exchange(capture.work, {});
}

bool capturing() { return capture.active; }

void keep(std::function<void()> work) { capture.work.push_back(std::move(work)); }

void set_seed(std::uint64_t seed) { order_seed = seed; }

std::uint64_t seed() { return order_seed; }

void set_compute_capability(int capability) { device_capability = capability; }

int compute_capability() { return device_capability; }

int multiprocessors() {
  constexpr int kFew = 2, kOfAnH200 = 132;
  return sampled_blocks() > 0 ? kOfAnH200 : kFew;
}

void set_free_memory(std::size_t bytes) { free_bytes = bytes; }

std::size_t free_memory() { return free_bytes; }

void sample_launches(std::int64_t blocks) { blocks_of_a_sample = blocks; }

std::int64_t sampled_blocks() { return blocks_of_a_sample.load(std::memory_order_relaxed); }

void launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_shared_bytes, FunctionRef<void()> body) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535 || dynamic_shared_bytes > kSharedBytes)
    throw std::invalid_argument(std::string(kernel) + ": no GPU launches this grid, block or shared memory: grid " +
                                std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                                std::to_string(grid.z) + ", block " + std::to_string(block.x) + " x " +
                                std::to_string(block.y) + " x " + std::to_string(block.z) + ", " +
                                std::to_string(dynamic_shared_bytes) + " bytes");
  const std::int64_t blocks = std::int64_t{grid.x} * grid.y * grid.z, sample = sampled_blocks();
  if (sample > 0 && !counting_now) return;
  const bool sampled = sample > 0 && sample < blocks;
  const std::int64_t run = sampled ? sample : blocks;
  const std::uint64_t order = seed();
  // An affine walk through all blocks: the step and their number have no common factor.
  const auto drawn = philox4x32({0, 0, 0, 0}, order);
  std::int64_t step = static_cast<std::int64_t>(drawn[0]) % blocks + 1;
  while (std::gcd(step, blocks) != 1) ++step;
  const std::int64_t first = static_cast<std::int64_t>(drawn[1]) % blocks;

  const auto block_of = [&](std::int64_t task) {
    if (!sampled)
      return static_cast<std::uint64_t>((static_cast<__int128>(task) * step + first) % static_cast<__int128>(blocks));
    const std::int64_t begin = task * blocks / run, end = (task + 1) * blocks / run;
    const auto chance = philox4x32({static_cast<std::uint32_t>(task), 2, 0, 0}, order)[0];
    return static_cast<std::uint64_t>(begin + static_cast<std::int64_t>(chance) % (end - begin));
  };

  const std::unique_ptr<LaunchCounter> counter = count_launch(blocks, run);
  std::mutex mutex;
  std::string defect;
  std::atomic<bool> stop{false};
  parallel_tasks(run, [&](std::int64_t task, int) {
    if (stop) return;
    thread_local Block instance;
    const std::uint64_t linear = block_of(task);
    const Dim3 index{static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(linear / grid.x % grid.y),
                     static_cast<unsigned>(linear / (std::uint64_t{grid.x} * grid.y))};
    std::string found;
    try {
      found = instance.run(kernel, grid, block, index, dynamic_shared_bytes,
                           philox4x32({static_cast<std::uint32_t>(linear), 1, 0, 0}, order)[0], counter.get(), body);
    } catch (const std::exception& error) {
      found = error.what();
    }
    if (found.empty()) return;
    stop = true;
    const std::lock_guard lock(mutex);
    if (defect.empty()) defect = found;
  });
  if (!defect.empty()) throw Error(defect);
  if (counter) record_launch(kernel, grid, block, *counter);
}

}  // namespace retort::simt
