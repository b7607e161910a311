#include "tools/run/kernel_counts.h"

#include <cstdio>
#include <span>

#include "engine/core/check.h"
#include "engine/io/file.h"
#ifdef RETORT_SIMT
#include "kernels/simt/counters.h"
#include "kernels/simt/modelled_time.h"
#endif

namespace retort {

#ifdef RETORT_SIMT
namespace {

using Json = nlohmann::ordered_json;
using simt::Counts;
using simt::KernelCounts;

double ratio(std::uint64_t a, std::uint64_t b) { return b ? static_cast<double>(a) / static_cast<double>(b) : 0; }

/// The share of the sectors' bytes that lanes asked for; above 1 where several ask for the same.
double used(const simt::Requests& r) { return ratio(r.bytes, r.sectors * simt::kSectorBytes); }

Json to_json(const simt::Requests& r) {
  return {{"requests", r.requests}, {"lanes", r.lanes}, {"sectors", r.sectors},
          {"lines", r.lines},       {"bytes", r.bytes}, {"sectors_per_request", ratio(r.sectors, r.requests)},
          {"used", used(r)}};
}

Json to_json(const simt::Wavefronts& w) {
  return {{"requests", w.requests}, {"lanes", w.lanes}, {"wavefronts", w.wavefronts},
          {"least", w.least},       {"bytes", w.bytes}, {"excess", ratio(w.wavefronts, w.least)}};
}

Json modelled_json(std::span<const KernelCounts> kernels) {
  Json json;
  for (const simt::Chip& chip : simt::kChips) {
    const simt::ModelledTime time = modelled_time(kernels, chip);
    json[chip.name] = {{"seconds", time.seconds}, {"bound", time.bound}};
  }
  return json;
}

Json to_json(const KernelCounts& k) {
  const Counts& c = k.counts;
  return {{"kernel", k.kernel},
          {"grid", {k.grid.x, k.grid.y, k.grid.z}},
          {"block", {k.block.x, k.block.y, k.block.z}},
          {"shared_bytes", k.shared_bytes},
          {"launches", k.launches},
          {"active_lanes", c.active_lanes()},
          {"global_load", to_json(c.load)},
          {"global_store", to_json(c.store)},
          {"async_copy", to_json(c.copy)},
          {"unique_load_bytes", c.unique_load_sectors * simt::kSectorBytes},
          {"unique_store_bytes", c.unique_store_sectors * simt::kSectorBytes},
          {"block_load_bytes", c.block_load_sectors * simt::kSectorBytes},
          {"copy_bytes_in_flight", c.copy_bytes_in_flight},
          {"shared_load", to_json(c.shared_load)},
          {"shared_store", to_json(c.shared_store)},
          {"shared_async_copy", to_json(c.shared_copy)},
          {"atomics", c.atomics},
          {"atomic_lanes", c.atomic_lanes},
          {"tensor_flops_16", c.tensor_flops_16},
          {"tensor_flops_tf32", c.tensor_flops_tf32},
          {"modelled", modelled_json({&k, 1})}};
}

template <class... Values>
std::string format(const char* how, Values... values) {
  char line[256];
  std::snprintf(line, sizeof line, how, values...);
  return line;
}

std::string extents(simt::Dim3 d) {
  std::string all = text(d.x);
  if (d.y > 1 || d.z > 1) all += text("x", d.y);
  if (d.z > 1) all += text("x", d.z);
  return all;
}

std::string global_text(const char* what, const simt::Requests& r) {
  if (r.requests == 0) return {};
  return format("; %s %.2f sectors a request, %.0f%% used", what, ratio(r.sectors, r.requests), 100 * used(r));
}

std::string banks_text(const char* what, const simt::Wavefronts& w) {
  if (w.requests == 0) return {};
  return format("; %s %.2f x the least wavefronts", what, ratio(w.wavefronts, w.least));
}

std::string modelled_text(std::span<const KernelCounts> kernels) {
  std::string line;
  for (const simt::Chip& chip : simt::kChips) {
    const simt::ModelledTime time = modelled_time(kernels, chip);
    line += format("%s%s %.1f us (%s)", line.empty() ? "" : ", ", chip.name, 1e6 * time.seconds, time.bound);
  }
  return line;
}

Json counts_json(std::span<const KernelCounts> kernels) {
  Json json = {{"kernels", Json::array()}, {"modelled", modelled_json(kernels)}};
  for (const KernelCounts& kernel : kernels) json["kernels"].push_back(to_json(kernel));
  for (const simt::Chip& chip : simt::kChips) json["chips"][chip.name] = chip.source;
  return json;
}

std::string counts_text(std::span<const KernelCounts> kernels) {
  std::string all;
  for (const KernelCounts& k : kernels) {
    const Counts& c = k.counts;
    const std::uint64_t asked = c.load.sectors + c.store.sectors + c.copy.sectors,
                        distinct = c.unique_load_sectors + c.unique_store_sectors;
    all += text("  ", k.kernel, ", ", extents(k.grid), " blocks of ", extents(k.block), " threads, ", k.shared_bytes,
                " shared bytes, ", k.launches, k.launches == 1 ? " launch\n" : " launches\n");
    all += "    " + format("%.1f lanes an access", c.active_lanes()) + global_text("loads", c.load) +
           global_text("stores", c.store) + global_text("cp.async", c.copy) + "\n";
    all += "    " + format("%.3f MB of distinct sectors, each asked for %.2f times",
                           1e-6 * simt::kSectorBytes * static_cast<double>(distinct), ratio(asked, distinct));
    if (c.copy_bytes_in_flight > 0) all += text("; at most ", c.copy_bytes_in_flight, " bytes a block in flight");
    all += "\n";
    const std::string banks = banks_text("loads", c.shared_load) + banks_text("stores", c.shared_store) +
                              banks_text("cp.async", c.shared_copy);
    if (!banks.empty()) all += "    shared memory: " + banks.substr(2) + "\n";
    if (c.tensor_flops_16 + c.tensor_flops_tf32 > 0)
      all += "    " + format("%.3f GFLOP of tensor cores\n",
                             1e-9 * static_cast<double>(c.tensor_flops_16 + c.tensor_flops_tf32));
    if (c.atomics > 0) all += text("    ", c.atomics, " atomics of ", c.atomic_lanes, " lanes\n");
    all += "    modelled: " + modelled_text({&k, 1}) + "\n";
  }
  if (kernels.size() > 1) all += "  all kernels, modelled: " + modelled_text(kernels) + "\n";
  return all;
}

/// Counts while it lives.
class Counting {
 public:
  Counting() { simt::begin_counting(); }
  ~Counting() {
    if (!ended_) simt::end_counting();
  }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  std::vector<KernelCounts> end() {
    ended_ = true;
    return simt::end_counting();
  }

 private:
  bool ended_ = false;
};

}  // namespace

CountedCall count_call(const std::function<void()>& call) {
  Counting counting;
  call();
  const std::vector<KernelCounts> kernels = counting.end();
  return {counts_json(kernels), counts_text(kernels)};
}

struct CountedRun::State {
  Counting counting;
};

void sample_launches(std::int64_t blocks, int compute_capability) {
  simt::sample_launches(blocks);
  simt::set_compute_capability(compute_capability);
  simt::set_free_memory(std::size_t{141} * 1000 * 1000 * 1000);
}
#else
void sample_launches(std::int64_t, int) {}

CountedCall count_call(const std::function<void()>&) { return {}; }

struct CountedRun::State {};
#endif

void check_counters(const std::string& path, Device device) {
  if (!path.empty() && device != Device::simt)
    throw UsageError("--counters: kernels are counted in the simulator alone; add --device simt");
}

CountedRun::CountedRun(const std::string& path, Device device) : path_(path) {
  check_counters(path, device);
  if (path_.empty()) return;
  check_writable(path_);
  state_ = std::make_unique<State>();
}

CountedRun::~CountedRun() = default;

void CountedRun::write() {
#ifdef RETORT_SIMT
  if (state_) write_atomic(path_, counts_json(state_->counting.end()).dump(1) + "\n");
#endif
}

}  // namespace retort
