// Requests from the accesses of lanes, and what they cost (kernels/simt/counters.h).
#include "kernels/simt/block_counter.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace retort::simt {
namespace {

/// Sorts the first n, and returns how many are left when each stays once.
template <class T>
std::size_t distinct(T* values, std::size_t n) {
  std::sort(values, values + n);
  return static_cast<std::size_t>(std::unique(values, values + n) - values);
}

/// What an access to shared memory costs: bytes a lane at at(lane), by the lanes of the mask.
template <class At>
void count_banks(Wavefronts& sum, std::uint32_t mask, std::uint32_t bytes, const At& at) {
  constexpr unsigned kBanks = 32, kWordBytes = 4;
  const unsigned together = bytes <= 4 ? kLanes : bytes == 8 ? kLanes / 2 : kLanes / 4;  // lanes of a phase
  std::uint64_t all[kLanes * 4];
  std::size_t words = 0;
  for (unsigned first = 0; first < kLanes; first += together) {
    std::uint64_t phase[kLanes * 4];
    std::size_t n = 0;
    for (unsigned lane = first; lane < first + together; ++lane)
      if (mask >> lane & 1)
        for (std::uint64_t word = at(lane) / kWordBytes; word * kWordBytes < at(lane) + bytes; ++word)
          phase[n++] = word;
    n = distinct(phase, n);
    std::uint64_t of_bank[kBanks] = {};
    for (std::size_t i = 0; i < n; ++i) {
      ++of_bank[phase[i] % kBanks];
      all[words++] = phase[i];
    }
    sum.wavefronts += *std::max_element(of_bank, of_bank + kBanks);
  }
  ++sum.requests;
  sum.lanes += static_cast<std::uint64_t>(std::popcount(mask));
  sum.least += (distinct(all, words) + kBanks - 1) / kBanks;
  sum.bytes += static_cast<std::uint64_t>(std::popcount(mask)) * bytes;
}

/// So many bytes in wavefronts without conflicts.
void add_at_best(Wavefronts& sum, std::uint64_t bytes, std::uint64_t wavefronts) {
  sum.wavefronts += wavefronts;
  sum.least += wavefronts;
  sum.bytes += bytes;
}

constexpr std::size_t kManySectors = 1 << 20;
constexpr std::uint64_t kWavefrontBytes = 128;

}  // namespace

LaunchCounter::LaunchCounter(double blocks_over_run) : scale_(blocks_over_run) {
  static std::atomic<std::uint64_t> launches{0};
  number_ = ++launches;
}

void LaunchCounter::add(const Counts& of_block, std::size_t shared_bytes) {
  const std::lock_guard lock(mutex_);
  counts_ += of_block;
  shared_bytes_ = std::max(shared_bytes_, shared_bytes);
}

void LaunchCounter::touch(std::uint64_t sector, bool stores, Extent& hint, std::atomic<std::uint64_t>*& bits) {
  const std::uintptr_t address = sector * kSectorBytes;
  const auto words_of = [](Extent buffer) { return (buffer.end - buffer.begin) / (64 * kSectorBytes) + 1; };
  if (address < hint.begin || address >= hint.end) {
    hint = find_buffer(address, 1, {});
    const std::lock_guard lock(mutex_);
    Region& region = regions_[hint.begin];
    if (!region.touched) {
      region.words = words_of(hint);
      region.sectors = (hint.end - hint.begin + kSectorBytes - 1) / kSectorBytes;
      region.touched = std::make_unique<std::atomic<std::uint64_t>[]>(2 * region.words);
    }
    bits = region.touched.get();
  }
  const std::uint64_t n = sector - hint.begin / kSectorBytes;
  bits[n / 64 + (stores ? words_of(hint) : 0)].fetch_or(std::uint64_t{1} << n % 64, std::memory_order_relaxed);
}

KernelCounts LaunchCounter::finish() const {
  KernelCounts result{
      .kernel = {}, .grid = {}, .block = {}, .shared_bytes = shared_bytes_, .launches = 1, .counts = counts_};
  result.counts.scale(scale_);
  for (const auto& [begin, region] : regions_) {
    std::uint64_t touched[2] = {};
    for (std::size_t i = 0; i < 2 * region.words; ++i)
      touched[i / region.words] +=
          static_cast<std::uint64_t>(std::popcount(region.touched[i].load(std::memory_order_relaxed)));
    const auto of_launch = [&](std::uint64_t sectors) {
      const double scaled = std::round(scale_ * static_cast<double>(sectors));
      return std::min(static_cast<std::uint64_t>(scaled), region.sectors);
    };
    result.counts.unique_load_sectors += of_launch(touched[0]);
    result.counts.unique_store_sectors += of_launch(touched[1]);
  }
  return result;
}

void BlockCounter::start(LaunchCounter& launch, unsigned warps) {
  // Another launch may be of another kernel, which has other places. A block that was stopped leaves requests behind,
  // but ends its launch.
  if (launch_number_ != launch.number()) warps_.clear();
  launch_ = &launch;
  launch_number_ = launch.number();
  counts_ = {};
  warps_.resize(warps);
  loaded_.clear();
  hint_ = {};
}

BlockCounter::Request& BlockCounter::turn(unsigned warp, unsigned lane, std::uint64_t place, Kind kind,
                                          std::size_t bytes) {
  Warp& w = warps_[warp];
  const std::uint64_t key = place * 256 + static_cast<std::uint64_t>(kind) * 32 + bytes;
  // Lanes walk through the same places in the same order.
  std::size_t at = w.last + 1;
  if (at >= w.sites.size() || w.sites[at].key != key) {
    const auto [found, fresh] = w.index.try_emplace(key, w.sites.size());
    if (fresh) w.sites.push_back({key, kind, static_cast<std::uint32_t>(bytes), {}, 0, {}});
    at = found->second;
  }
  w.last = at;
  Site& site = w.sites[at];
  if (site.used == 0) w.pending.push_back(at);
  const std::size_t n = site.turns[lane]++;
  if (n >= site.requests.size()) site.requests.emplace_back();
  while (site.used <= n) {
    Request& request = site.requests[site.used++];
    request.mask = request.reading = 0;
  }
  site.requests[n].mask |= 1u << lane;
  return site.requests[n];
}

void BlockCounter::access(unsigned warp, unsigned lane, std::uint64_t place, Space space, AccessKind kind,
                          std::uint64_t at, std::size_t bytes) {
  const bool shared = space == Space::shared;
  const Kind of = kind == AccessKind::read    ? (shared ? Kind::shared_load : Kind::load)
                  : kind == AccessKind::write ? (shared ? Kind::shared_store : Kind::store)
                                              : (shared ? Kind::shared_atomic : Kind::atomic);
  turn(warp, lane, place, of, bytes).at[lane] = at;
}

void BlockCounter::copy(unsigned warp, unsigned lane, std::uint64_t place, std::uint64_t source, std::uint32_t target,
                        std::size_t bytes, bool reads) {
  Request& request = turn(warp, lane, place, Kind::copy, bytes);
  if (reads) request.reading |= 1u << lane;
  request.at[lane] = source;
  request.target[lane] = target;
}

void BlockCounter::load_matrix(const std::uint32_t (&rows)[8]) {
  constexpr std::uint64_t kRows = 8;
  count_banks(counts_.shared_load, 0xFF, 16, [&](unsigned lane) { return std::uint64_t{rows[lane]}; });
  counts_.shared_load.lanes += kLanes - kRows;  // eight name the rows, and all get a part of them
}

void BlockCounter::bulk_row(std::uint64_t address, std::uint32_t bytes, bool stores, bool first) {
  Requests& sum = stores ? counts_.store : counts_.copy;
  Wavefronts& shared = stores ? counts_.shared_load : counts_.shared_copy;
  sum.requests += first;
  if (bytes == 0) return;
  const std::uint64_t before = address / kSectorBytes, after = (address + bytes + kSectorBytes - 1) / kSectorBytes;
  for (std::uint64_t sector = before; sector < after; ++sector) launch_->touch(sector, stores, hint_, bits_);
  sum.sectors += after - before;
  sum.bytes += bytes;
  add_at_best(shared, bytes, (bytes + kWavefrontBytes - 1) / kWavefrontBytes);
}

void BlockCounter::operands(std::uint64_t bytes) { add_at_best(counts_.shared_load, bytes, bytes / kWavefrontBytes); }

void BlockCounter::count_global(Requests& sum, Kind kind, const Request& request, std::uint32_t mask,
                                std::uint32_t bytes) {
  std::uint64_t sectors[kLanes * 2];
  std::size_t n = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (mask >> lane & 1)
      for (std::uint64_t sector = request.at[lane] / kSectorBytes; sector * kSectorBytes < request.at[lane] + bytes;
           ++sector)
        sectors[n++] = sector;
  n = distinct(sectors, n);
  ++sum.requests;
  sum.lanes += static_cast<std::uint64_t>(std::popcount(mask));
  sum.sectors += n;
  sum.bytes += static_cast<std::uint64_t>(std::popcount(mask)) * bytes;
  constexpr std::uint64_t kPerLine = kLineBytes / kSectorBytes;
  for (std::size_t i = 0; i < n; ++i) {
    sum.lines += i == 0 || sectors[i] / kPerLine != sectors[i - 1] / kPerLine;
    launch_->touch(sectors[i], kind == Kind::store || kind == Kind::atomic, hint_, bits_);
  }
  if (kind != Kind::load) return;
  loaded_.insert(loaded_.end(), sectors, sectors + n);
  if (loaded_.size() > kManySectors) loaded_.resize(distinct(loaded_.data(), loaded_.size()));
}

void BlockCounter::count(const Site& site, const Request& request) {
  const auto of_block = [&](unsigned lane) { return request.at[lane]; };
  switch (site.kind) {
    case Kind::load: count_global(counts_.load, site.kind, request, request.mask, site.bytes); break;
    case Kind::store: count_global(counts_.store, site.kind, request, request.mask, site.bytes); break;
    case Kind::shared_load: count_banks(counts_.shared_load, request.mask, site.bytes, of_block); break;
    case Kind::shared_store: count_banks(counts_.shared_store, request.mask, site.bytes, of_block); break;
    case Kind::copy:
      if (request.reading) count_global(counts_.copy, site.kind, request, request.reading, site.bytes);
      count_banks(counts_.shared_copy, request.mask, site.bytes,
                  [&](unsigned lane) { return std::uint64_t{request.target[lane]}; });
      break;
    case Kind::atomic: {
      Requests unused;
      count_global(unused, site.kind, request, request.mask, site.bytes);
      [[fallthrough]];
    }
    case Kind::shared_atomic:
      ++counts_.atomics;
      counts_.atomic_lanes += static_cast<std::uint64_t>(std::popcount(request.mask));
      break;
  }
}

void BlockCounter::meet(unsigned warp) {
  for (const std::size_t at : warps_[warp].pending) {
    Site& site = warps_[warp].sites[at];
    for (std::size_t i = 0; i < site.used; ++i) count(site, site.requests[i]);
    site.used = 0;
    std::fill(std::begin(site.turns), std::end(site.turns), 0);
  }
  warps_[warp].pending.clear();
}

void BlockCounter::finish(std::size_t shared_bytes) {
  for (unsigned warp = 0; warp < warps_.size(); ++warp) meet(warp);
  counts_.block_load_sectors = distinct(loaded_.data(), loaded_.size());
  launch_->add(counts_, shared_bytes);
}

}  // namespace retort::simt
