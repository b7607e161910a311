// The sums behind kernels/simt/counters.h, and the launches that are counted.
#include "kernels/simt/counters.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "kernels/simt/block_counter.h"

namespace retort::simt {
namespace {

struct Counting {
  std::mutex mutex;
  std::vector<KernelCounts> kernels;
};
Counting& counting() {
  static Counting instance;
  return instance;
}

bool same(Dim3 a, Dim3 b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

}  // namespace

void Requests::operator+=(const Requests& other) {
  requests += other.requests;
  lanes += other.lanes;
  sectors += other.sectors;
  lines += other.lines;
  bytes += other.bytes;
}

void Wavefronts::operator+=(const Wavefronts& other) {
  requests += other.requests;
  lanes += other.lanes;
  wavefronts += other.wavefronts;
  least += other.least;
  bytes += other.bytes;
}

void Counts::operator+=(const Counts& other) {
  load += other.load;
  store += other.store;
  copy += other.copy;
  shared_load += other.shared_load;
  shared_store += other.shared_store;
  shared_copy += other.shared_copy;
  unique_load_sectors += other.unique_load_sectors;
  unique_store_sectors += other.unique_store_sectors;
  block_load_sectors += other.block_load_sectors;
  atomics += other.atomics;
  atomic_lanes += other.atomic_lanes;
  tensor_flops_16 += other.tensor_flops_16;
  tensor_flops_tf32 += other.tensor_flops_tf32;
  copy_bytes_in_flight = std::max(copy_bytes_in_flight, other.copy_bytes_in_flight);
}

void Counts::scale(double factor) {
  const auto by = [factor](std::uint64_t& count) {
    count = static_cast<std::uint64_t>(std::llround(static_cast<double>(count) * factor));
  };
  for (Requests* r : {&load, &store, &copy})
    for (std::uint64_t* count : {&r->requests, &r->lanes, &r->sectors, &r->lines, &r->bytes}) by(*count);
  for (Wavefronts* w : {&shared_load, &shared_store, &shared_copy})
    for (std::uint64_t* count : {&w->requests, &w->lanes, &w->wavefronts, &w->least, &w->bytes}) by(*count);
  for (std::uint64_t* count : {&block_load_sectors, &atomics, &atomic_lanes, &tensor_flops_16, &tensor_flops_tf32})
    by(*count);
}

double Counts::active_lanes() const {
  // A copy reads and writes: its lanes are those of the writing part, zeros included.
  const std::uint64_t requests = load.requests + store.requests + shared_load.requests + shared_store.requests +
                                 shared_copy.requests + atomics,
                      lanes = load.lanes + store.lanes + shared_load.lanes + shared_store.lanes + shared_copy.lanes +
                              atomic_lanes;
  return requests ? static_cast<double>(lanes) / static_cast<double>(requests) : 0;
}

void begin_counting() {
  if (counting_now.exchange(true)) throw Error("counting: begun while another is under way; end that first");
  const std::lock_guard lock(counting().mutex);
  counting().kernels.clear();
}

std::vector<KernelCounts> end_counting() {
  if (!counting_now.exchange(false)) throw Error("counting: ended, but none was begun");
  const std::lock_guard lock(counting().mutex);
  return std::exchange(counting().kernels, {});
}

std::unique_ptr<LaunchCounter> count_launch(std::int64_t blocks, std::int64_t run) {
  if (!counting_now.load(std::memory_order_relaxed)) return nullptr;
  return std::make_unique<LaunchCounter>(static_cast<double>(blocks) / static_cast<double>(run));
}

void record_launch(const char* kernel, Dim3 grid, Dim3 block, const LaunchCounter& counter) {
  const KernelCounts launch = counter.finish();
  const std::lock_guard lock(counting().mutex);
  for (KernelCounts& known : counting().kernels)
    if (known.kernel == kernel && same(known.grid, grid) && same(known.block, block) &&
        known.shared_bytes == launch.shared_bytes) {
      ++known.launches;
      known.counts += launch.counts;
      return;
    }
  counting().kernels.push_back({kernel, grid, block, launch.shared_bytes, 1, launch.counts});
}

}  // namespace retort::simt
