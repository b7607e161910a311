// mbarriers, bulk tensor copies, wgmma and setmaxnreg of one block (kernels/simt/hopper.h).
#include "kernels/simt/hopper.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/simt/source_lines.h"

namespace retort::simt {
namespace {

constexpr std::size_t kChunkBytes = 16, kWordBytes = 4;
constexpr unsigned kWarpsOfGroup = 4, kDepth = 16, kRowsOfWarp = 16;
constexpr unsigned kRegisters = 65536;  ///< of a multiprocessor
constexpr int kMostColumns = 256;

std::uint32_t first_chunk(std::size_t offset) { return static_cast<std::uint32_t>(offset / kChunkBytes); }
std::uint32_t last_chunk(std::size_t offset, std::size_t bytes) { return first_chunk(offset + bytes - 1); }

/// Bits 4 to 6 of an address are exchanged by bits 7 to 9.
std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

/// A wgmma descriptor, taken apart.
struct Descriptor {
  explicit Descriptor(std::uint64_t bits)
      : start(field(bits, 0)),
        leading(field(bits, 16)),
        stride(field(bits, 32)),
        base(static_cast<unsigned>(bits >> 49 & 7)),
        layout(static_cast<unsigned>(bits >> 62)) {}
  std::uint32_t start, leading, stride;
  unsigned base, layout;  ///< layout: 1, 2, 3 for swizzles of 128, 64, 32 bytes

  /// Where eight neighbours lie: those number j of row mn along k, or of row k along mn.
  std::uint32_t chunk(bool along_mn, std::uint32_t row, std::uint32_t j) const {
    const std::uint32_t chunks = 8u >> (layout - 1);  // of a row
    std::uint32_t at = start + row % 8 * chunks * 16 + row / 8 * stride;
    at += along_mn ? j % chunks * 16 + j / chunks * leading : j * 16;
    return at ^ (at >> 7 & (chunks - 1)) << 4;
  }

 private:
  static std::uint32_t field(std::uint64_t bits, int shift) {
    return static_cast<std::uint32_t>(bits >> shift & 0x3FFF) << 4;
  }
};

struct ProductArguments {
  Product product;
  float* sums;
};
struct WaitArguments {
  unsigned pending;
};

}  // namespace

void Hopper::start_block(unsigned threads) {
  threads_ = threads;
  if (!used_) return;
  used_ = false;
  barriers_.clear();
  loads_.clear();
  stores_.clear();
  for (auto& of_warp : products_) of_warp.clear();
  for (auto& of_group : issued_) of_group.clear();
  std::fill(std::begin(issues_), std::end(issues_), 0);
  register_waiters_.clear();
}

void Hopper::use() {
  if (used_) return;
  used_ = true;
  sums_.assign(threads_, {});
  product_fenced_.assign(threads_, false);
  store_groups_.assign(threads_, 0);
  product_groups_.assign(threads_, 0);
  fences_.assign(threads_, 0);
  written_.assign(kSharedBytes / kWordBytes, {});
  chunks_.assign(kSharedBytes / kChunkBytes, {});
  const unsigned warps = (threads_ + kLanes - 1) / kLanes, each = std::min(kRegisters / threads_ / 8 * 8, 248u);
  for (unsigned warp = 0; warp < kMaxWarps; ++warp) registers_[warp] = wanted_[warp] = warp < warps ? each : 0;
  register_pool_ = warps * kLanes * each;
}

std::string Hopper::thread_name(unsigned id) const {
  const Dim3 at = block_.threads_[id].index;
  return "thread (" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

void Hopper::stop(unsigned thread, const std::string& what, Where where) {
  if (!block_.race_) block_.defect_ = block_.describe(thread_name(thread), what, where);
  block_.stopped_ = true;
}

// ---------------------------------------------------------------------------------------------------------- mbarriers

std::string Hopper::describe(std::uint32_t offset, const Barrier& barrier) const {
  return "the mbarrier at byte " + std::to_string(offset) + " (phase " + std::to_string(barrier.phase) + ", " +
         std::to_string(barrier.pending) + " of " + std::to_string(barrier.count) + " arrivals and " +
         std::to_string(barrier.missing) + " bytes missing)";
}

std::uint32_t Hopper::shared_range(const void* pointer, std::size_t bytes, const char* what, std::size_t alignment) {
  const std::size_t offset = block_.shared_offset(pointer);
  if (offset >= kSharedBytes || offset + bytes > block_.shared_used_)
    block_.fail(std::string(what) + ": " + std::to_string(bytes) + " bytes that are not in the block's shared memory");
  if (offset % alignment != 0)
    block_.fail(std::string(what) + " at byte " + std::to_string(offset) +
                " of shared memory: it must lie at a multiple of " + std::to_string(alignment));
  return static_cast<std::uint32_t>(offset);
}

Hopper::Barrier& Hopper::barrier_at(std::uint64_t* barrier, const char* what, Where where, std::uint32_t* offset) {
  use();
  const std::uint32_t at = shared_range(barrier, 8, what, 8);
  const auto found = barriers_.find(at);
  if (found == barriers_.end())
    block_.fail(std::string(what) + " " + to_string(where) + ": there is no mbarrier at byte " + std::to_string(at) +
                "; initialise one, and let the block meet");
  // The initialisation is a write that whoever uses the barrier must have met.
  const auto conflict = block_.races_.access(block_.warp(), block_.lane(), at, 8, AccessKind::read, 0);
  if (conflict.found) block_.report(conflict, at, (std::string(what) + " " + to_string(where) + " uses").c_str(), 0);
  if (offset) *offset = at;
  return found->second;
}

void Hopper::barrier_init(std::uint64_t* barrier, unsigned count, Where where, const void* from) {
  use();
  const std::uint32_t at = shared_range(barrier, 8, "mbarrier_init", 8);
  if (count == 0) block_.fail("mbarrier_init " + to_string(where) + ": of no arrivals");
  if (barriers_.count(at)) block_.fail("mbarrier_init " + to_string(where) + ": there is an mbarrier already");
  Barrier& fresh = barriers_[at];
  fresh.count = fresh.pending = count;
  fresh.thread = block_.running_;
  fresh.last = where;
  chunks_[at / kChunkBytes].barriers |= static_cast<std::uint8_t>(1u << at % kChunkBytes / 8);
  const CodePlace place = code_place(from);
  const auto conflict = block_.races_.access(block_.warp(), block_.lane(), at, 8, AccessKind::write, place);
  if (conflict.found) block_.report(conflict, at, "initialises", place);
}

void Hopper::barrier_fence() {
  for (auto& [offset, barrier] : barriers_)
    if (barrier.thread == block_.running_) barrier.fenced = true;
}

void Hopper::settle(Barrier& barrier) {
  if (barrier.pending > 0 || barrier.missing != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.count;
  barrier.completed = barrier.clock;
  for (const unsigned id : barrier.waiting) {
    block_.races_.acquire(id / kLanes, barrier.completed);
    block_.wake(id);
  }
  barrier.waiting.clear();
}

void Hopper::barrier_arrive(std::uint64_t* pointer, std::uint32_t bytes, Where where) {
  std::uint32_t offset = 0;
  Barrier& barrier = barrier_at(pointer, "mbarrier_arrive", where, &offset);
  if (barrier.pending == 0)
    block_.fail("mbarrier_arrive " + to_string(where) + ": one arrival too many at " + describe(offset, barrier) +
                ", where the last came from " + to_string(barrier.last));
  barrier.missing += bytes;
  barrier.last = where;
  --barrier.pending;
  block_.races_.release(block_.warp(), barrier.clock);
  settle(barrier);
}

void Hopper::barrier_wait(std::uint64_t* pointer, unsigned parity, Where where) {
  Barrier& barrier = barrier_at(pointer, "mbarrier_wait", where);
  if (parity > 1) block_.fail("mbarrier_wait " + to_string(where) + ": the parity is " + std::to_string(parity));
  if ((barrier.phase & 1) != parity) {
    block_.races_.acquire(block_.warp(), barrier.completed);
    block_.thread().where = where;
    return;
  }
  barrier.waiting.push_back(block_.running_);
  block_.wait("mbarrier_wait", where);
}

std::string Hopper::describe() const {
  std::string text;
  for (const auto& [offset, barrier] : barriers_)
    if (!barrier.waiting.empty()) text += "; " + describe(offset, barrier);
  if (!register_waiters_.empty()) {
    unsigned taken = 0, wanted = 0;
    for (unsigned warp = 0; warp < kMaxWarps; ++warp) {
      taken += registers_[warp] * kLanes;
      if (wanted_[warp] > registers_[warp]) wanted += (wanted_[warp] - registers_[warp]) * kLanes;
    }
    text += "; of the block's " + std::to_string(register_pool_) + " registers " + std::to_string(taken) +
            " are taken, and warps wait for " + std::to_string(wanted) + " more: the registers don't add up";
  }
  return text;
}

// -------------------------------------------------------------------------------------------- what is read and written

std::string Hopper::reader_of(std::size_t chunk) const {
  for (const Store& store : stores_)
    if (!store.read && chunk >= first_chunk(store.source) && chunk <= last_chunk(store.source, store.map.bytes()))
      return "the bulk store " + to_string(store.where) + " of " + thread_name(store.thread);
  for (unsigned warp = 0; warp < kMaxWarps; ++warp)
    for (const WarpProduct& work : products_[warp]) {
      bool found = false;
      each_chunk(warp, work.product, [&](std::uint32_t at, bool, std::uint32_t, std::uint32_t) {
        found = found || first_chunk(at) == chunk;
      });
      if (found) return "wgmma " + to_string(work.product.where) + " of " + thread_name(warp * kLanes);
    }
  return "an asynchronous read";
}

std::string Hopper::load_into(std::size_t chunk) const {
  for (const Load& load : loads_) {
    if (chunk < first_chunk(load.target) || chunk > last_chunk(load.target, load.map.bytes())) continue;
    const Barrier& barrier = barriers_.at(load.barrier);
    const std::string name = "the bulk load " + to_string(load.where) + " of " + thread_name(load.thread);
    if (barrier.phase != load.phase) return name + too_few_bytes(load, barrier);
    return name + " into it has not been waited for";
  }
  return "a bulk load into it has not been waited for";
}

std::string Hopper::too_few_bytes(const Load& load, const Barrier& barrier) const {
  return " brings " + std::to_string(load.map.bytes()) + " bytes to phase " + std::to_string(load.phase) + " of " +
         describe(load.barrier, barrier) + ", which is over: the arrival " + to_string(barrier.last) +
         " expected too few bytes";
}

void Hopper::begin_read(std::size_t offset, std::size_t bytes, const std::string& what) {
  for (std::uint32_t i = first_chunk(offset); i <= last_chunk(offset, bytes); ++i) {
    if (chunks_[i].landing)
      block_.fail(what + " reads shared memory at byte " + std::to_string(i * kChunkBytes) + " while " + load_into(i));
    for (std::size_t word = i * kChunkBytes / kWordBytes; word < (i + 1) * kChunkBytes / kWordBytes; ++word) {
      const Written& written = written_[word];
      if (written.thread > 0 && fences_[written.thread - 1u] == written.fences) {
        const std::string line = source_line(written.place);
        block_.fail(what + " reads shared memory at byte " + std::to_string(word * kWordBytes) + ", which " +
                    thread_name(written.thread - 1u) + " wrote" + (line.empty() ? line : " at " + line) +
                    " and passed no proxy_fence since");
      }
    }
    ++chunks_[i].readers;
  }
}

void Hopper::end_read(std::size_t offset, std::size_t bytes) {
  for (std::uint32_t i = first_chunk(offset); i <= last_chunk(offset, bytes); ++i) --chunks_[i].readers;
}

void Hopper::touch_shared(std::size_t offset, std::size_t bytes, AccessKind kind, CodePlace place) {
  for (std::uint32_t i = first_chunk(offset); i <= last_chunk(offset, bytes); ++i) {
    if (chunks_[i].barriers)
      for (const auto& [at, barrier] : barriers_)
        if (at < offset + bytes && offset < at + 8)
          block_.fail("touches the mbarrier at byte " + std::to_string(at) + " by an ordinary access");
    if (kind != AccessKind::read && chunks_[i].readers > 0)
      block_.fail("writes shared memory at byte " + std::to_string(offset) + ", which " + reader_of(i) +
                  " has not been waited for to have read");
  }
  if (kind == AccessKind::read) return;
  for (std::size_t word = offset / kWordBytes; word <= (offset + bytes - 1) / kWordBytes; ++word)
    written_[word] = {fences_[block_.running_], place, static_cast<std::uint16_t>(block_.running_ + 1)};
}

void Hopper::touch_own(std::uintptr_t address, std::size_t bytes, AccessKind kind, CodePlace place) {
  for (Sums& sums : sums_[block_.running_]) {
    if (address >= sums.end || address + bytes <= sums.begin) continue;
    if (sums.in_flight > 0) {
      const std::string line = source_line(place);
      block_.fail(std::string(kind == AccessKind::read ? "reads" : "writes") + " a sum of wgmma " +
                  to_string(sums.where) + (line.empty() ? line : " at " + line) + ", which has not been waited for");
    }
    sums.touched = true;
  }
}

// -------------------------------------------------------------------------------------------------------- bulk copies

void Hopper::check_map_of(const TensorMap& map, const char* what, Where where) {
  use();
  if (map.mark != kMapMark)
    block_.fail(std::string(what) + " " + to_string(where) + ": its map was not made by tiled_map or im2col_map");
}

void Hopper::load(void* target, const TensorMap& map, std::uint64_t* pointer, const BoxPlace& place, bool im2col,
                  Where where, const void* from) {
  check_map_of(map, "bulk load", where);
  if (map.im2col() != im2col)
    block_.fail("bulk load " + to_string(where) + ": its map is for " + (im2col ? "tiled" : "im2col") + " copies");
  const std::uint32_t bytes = map.bytes(), offset = shared_range(target, bytes, "bulk load", 128);
  std::uint32_t barrier_offset = 0;
  const Barrier& barrier = barrier_at(pointer, "bulk load", where, &barrier_offset);
  if (!barrier.fenced)
    block_.fail("bulk load " + to_string(where) + ": " + thread_name(barrier.thread) + ", which initialised " +
                describe(barrier_offset, barrier) + ", passed no mbarrier_init_fence since");
  for (std::size_t d = 0; im2col && d < 2; ++d)
    if (place.at[d + 1] < map.lower[d] ||
        place.at[d + 1] >= static_cast<std::int64_t>(map.extent[d + 1]) + map.upper[d])
      block_.fail("bulk load " + to_string(where) + ": begins at " + (d == 0 ? "w" : "h") + " = " +
                  std::to_string(place.at[d + 1]) + ", outside the bounding box");
  for (std::uint32_t i = first_chunk(offset); i <= last_chunk(offset, bytes); ++i) {
    Chunk& chunk = chunks_[i];
    const std::string at =
        "bulk load " + to_string(where) + " writes shared memory at byte " + std::to_string(i * kChunkBytes);
    if (chunk.landing) block_.fail(at + ", into which another is under way");
    if (chunk.readers > 0)
      block_.fail(at + ", which " + reader_of(i) + " has not been waited for to have read: released too early");
    if (chunk.barriers) block_.fail(at + ", where an mbarrier lies");
    chunk.landing = true;
  }
  const CodePlace code = code_place(from);
  const auto conflict = block_.races_.issue(block_.warp(), block_.lane(), offset, bytes, code);
  if (conflict.found) block_.report(conflict, offset, "copies to", code);
  std::memset(block_.shared_ + offset, 0xFF, bytes);
  loads_.push_back({barrier_offset, barrier.phase, block_.running_, offset, map, place, where, code});
}

void Hopper::land(const Load& load) {
  const std::uint32_t bytes = load.map.bytes();
  Barrier& barrier = barriers_.at(load.barrier);
  const std::string name = "bulk load " + to_string(load.where);
  if (barrier.phase != load.phase) return stop(load.thread, name + too_few_bytes(load, barrier), load.where);
  std::uint32_t at = load.target;
  bool inside = true;
  each_row(load.map, load.place, [&](const BoxRow& row) {
    alignas(kChunkBytes) std::byte line[kRowBytes] = {};
    if (row.bytes > 0 && !find_buffer(row.address, row.bytes, {}).begin) inside = false;
    if (row.bytes > 0 && inside) std::memcpy(line, reinterpret_cast<const void*>(row.address), row.bytes);
    if (inside) block_.count_bulk_row(row.address, row.bytes, /*stores=*/false, at == load.target);
    for (std::uint32_t i = 0; i < kRowBytes; i += kChunkBytes)
      std::memcpy(block_.shared_ + swizzled(at + i), line + i, kChunkBytes);
    at += kRowBytes;
  });
  if (!inside) return stop(load.thread, name + " reads global memory outside every buffer", load.where);
  for (std::uint32_t i = first_chunk(load.target); i <= last_chunk(load.target, bytes); ++i) chunks_[i].landing = false;
  std::fill_n(written_.begin() + load.target / kWordBytes, bytes / kWordBytes, Written{});
  block_.races_.land_bulk(load.target, bytes, load.code, barrier.clock);
  barrier.missing -= bytes;
  settle(barrier);
}

bool Hopper::land_one() {
  if (loads_.empty() || block_.alive_ == 0) return false;
  const std::size_t pick = block_.draw() % loads_.size();
  const Load load = loads_[pick];
  loads_.erase(loads_.begin() + static_cast<std::ptrdiff_t>(pick));
  land(load);
  return true;
}

void Hopper::store(const TensorMap& map, const void* source, const BoxPlace& place, Where where, const void* from) {
  check_map_of(map, "bulk store", where);
  if (map.im2col()) block_.fail("bulk store " + to_string(where) + ": its map is for im2col loads");
  const std::uint32_t bytes = map.bytes(), offset = shared_range(source, bytes, "bulk store", 128);
  begin_read(offset, bytes, "bulk store " + to_string(where));
  const CodePlace code = code_place(from);
  const auto conflict = block_.races_.access(block_.warp(), block_.lane(), offset, bytes, AccessKind::read, code);
  if (conflict.found) block_.report(conflict, offset, "stores", code);
  stores_.push_back(
      {block_.running_, store_groups_[block_.running_], offset, map, place, where, code, /*read=*/false, {}});
}

void Hopper::read_source(Store& store) {
  store.read = true;
  end_read(store.source, store.map.bytes());
  store.bytes.resize(store.map.bytes());
  for (std::uint32_t i = 0; i < store.bytes.size(); i += kChunkBytes)
    std::memcpy(store.bytes.data() + i, block_.shared_ + swizzled(store.source + i), kChunkBytes);
  const auto conflict = block_.races_.access(block_.warp(), block_.lane(), store.source, store.bytes.size(),
                                             AccessKind::read, store.code);
  if (conflict.found) block_.report(conflict, store.source, "stores", store.code);
}

void Hopper::write_target(const Store& store) {
  const std::byte* line = store.bytes.data();
  each_row(store.map, store.place, [&](const BoxRow& row) {
    if (row.bytes > 0 && !find_buffer(row.address, row.bytes, {}).begin)
      block_.fail("bulk store " + to_string(store.where) + " writes global memory outside every buffer");
    if (row.bytes > 0) std::memcpy(reinterpret_cast<void*>(row.address), line, row.bytes);
    block_.count_bulk_row(row.address, row.bytes, /*stores=*/true, line == store.bytes.data());
    line += kRowBytes;
  });
}

void Hopper::wait_stores_read(unsigned pending) {
  use();
  for (Store& store : stores_)
    if (!store.read && store.thread == block_.running_ && store.group + pending < store_groups_[block_.running_])
      read_source(store);
}

// ----------------------------------------------------------------------------------------------------------- products

template <class F>
void Hopper::each_chunk(unsigned warp, const Product& product, const F& chunk) const {
  const auto operand = [&](std::uint64_t descriptor, bool along_mn, std::uint32_t first, std::uint32_t count,
                           bool is_b) {
    const Descriptor d(descriptor);
    if (along_mn) {
      for (std::uint32_t k = 0; k < kDepth; ++k)
        for (std::uint32_t mn = first; mn < first + count; mn += 8)
          chunk(d.chunk(true, k, mn / 8), is_b, mn - first, k);
    } else {
      for (std::uint32_t mn = first; mn < first + count; ++mn)
        for (std::uint32_t k = 0; k < kDepth; k += 8) chunk(d.chunk(false, mn, k / 8), is_b, mn - first, k);
    }
  };
  operand(product.a, product.a_along_m, warp % kWarpsOfGroup * kRowsOfWarp, kRowsOfWarp, false);
  operand(product.b, product.b_along_n, 0, static_cast<std::uint32_t>(product.n), true);
}

void Hopper::product_fence() {
  use();
  product_fenced_[block_.running_] = true;
  for (Sums& sums : sums_[block_.running_]) sums.touched = false;
}

Hopper::Sums& Hopper::sums_at(unsigned thread, const float* begin, int count, Where where) {
  const auto first = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t end = first + static_cast<std::size_t>(count) * sizeof(float);
  for (Sums& sums : sums_[thread]) {
    if (sums.end <= first || end <= sums.begin) continue;
    if (sums.begin == first && sums.end == end) return sums;
    if (sums.in_flight > 0)
      block_.fail("wgmma " + to_string(where) + ": its sums overlap those of wgmma " + to_string(sums.where) +
                  ", which has not been waited for");
  }
  std::erase_if(sums_[thread], [&](const Sums& sums) { return sums.begin < end && first < sums.end; });
  sums_[thread].push_back({first, end, 0, /*touched=*/!product_fenced_[thread], where, {}});
  return sums_[thread].back();
}

void Hopper::product(const Product& product, float* sums) {
  use();
  ProductArguments arguments{product, sums};
  block_.collective("wgmma", 0xFFFFFFFFu, product.where, &arguments, complete_product);
}

void Hopper::complete_product(Block& block, unsigned warp, Rendezvous& met) { block.hopper().issue(warp, met); }

void Hopper::issue(unsigned warp, Rendezvous& met) {
  const auto of = [&](unsigned lane) -> const ProductArguments& {
    return *static_cast<ProductArguments*>(met.lanes[lane]);
  };
  const Product& product = of(0).product;
  const std::string name = "wgmma " + to_string(product.where);
  if (warp / kWarpsOfGroup * kWarpsOfGroup * kLanes + kWarpsOfGroup * kLanes > threads_)
    block_.fail(name + ": its warpgroup has fewer than four warps");
  for (const std::uint64_t bits : {product.a, product.b}) {
    const Descriptor d(bits);
    if (d.layout == 0 || d.base != 0)
      block_.fail(name + ": a descriptor with layout " + std::to_string(d.layout) + " and base offset " +
                  std::to_string(d.base) + "; the simulator knows swizzles of 128, 64 and 32 bytes at offset 0");
  }
  // The four warps of a group issue the same.
  const unsigned group = warp / kWarpsOfGroup;
  if (issues_[warp] == issued_[group].size()) issued_[group].push_back(product);
  if (!(issued_[group][issues_[warp]] == product))
    block_.fail(name + ": another warp of the group issued something else at its place, " +
                to_string(issued_[group][issues_[warp]].where));
  ++issues_[warp];
  const auto all = [&](std::size_t n) {
    for (unsigned other = group * kWarpsOfGroup; other < (group + 1) * kWarpsOfGroup; ++other)
      if (issues_[other] != n) return false;
    return true;
  };
  if (all(issued_[group].size())) {
    issued_[group].clear();
    std::fill_n(issues_ + group * kWarpsOfGroup, kWarpsOfGroup, 0);
  }

  WarpProduct work{product, product_groups_[warp * kLanes], {}};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(of(lane).product == product)) block_.fail(name + ": lanes of a warp issue different products");
    const unsigned thread = warp * kLanes + lane;
    if (product_groups_[thread] != work.group) block_.fail(name + ": lanes of a warp committed different groups");
    work.sums[lane] = of(lane).sums;
    Sums& sums = sums_at(thread, work.sums[lane], product.n / 2, product.where);
    if (sums.touched && sums.in_flight == 0)
      block_.fail(name + ": " + thread_name(thread) + " passed no wgmma_fence since its sums were last touched");
    if (sums.in_flight++ == 0) sums.values.assign(work.sums[lane], work.sums[lane] + product.n / 2);
    sums.where = product.where;
    std::memset(static_cast<void*>(work.sums[lane]), 0xFF, sizeof(float) * static_cast<std::size_t>(product.n / 2));
  }
  const auto begin = [&](std::uint32_t at, bool, std::uint32_t, std::uint32_t) {
    if (at + kChunkBytes > block_.shared_used_)
      block_.fail(name + " reads shared memory at byte " + std::to_string(at) + ", beyond the block's " +
                  std::to_string(block_.shared_used_) + " bytes");
    begin_read(at, kChunkBytes, name);
  };
  if (sampled_blocks() == 0) each_chunk(warp, product, begin);
  block_.count_tensor(std::uint64_t{2} * kRowsOfWarp * kDepth * static_cast<std::uint64_t>(product.n), false);
  // Each warp reads its rows of A; the four share B.
  const std::uint64_t columns = static_cast<std::uint64_t>(product.n);
  block_.count_operands(sizeof(std::uint16_t) * kDepth * (kRowsOfWarp + columns / kWarpsOfGroup));
  products_[warp].push_back(work);
}

void Hopper::wait_products(unsigned pending, Where where) {
  use();
  WaitArguments arguments{pending};
  block_.collective("wgmma_wait", 0xFFFFFFFFu, where, &arguments, complete_wait);
}

void Hopper::complete_wait(Block& block, unsigned warp, Rendezvous& met) { block.hopper().wait_products_of(warp, met); }

void Hopper::wait_products_of(unsigned warp, Rendezvous& met) {
  const unsigned pending = static_cast<WaitArguments*>(met.lanes[0])->pending;
  auto& under_way = products_[warp];
  std::size_t done = 0;
  while (done < under_way.size() && under_way[done].group + pending < product_groups_[warp * kLanes])
    compute(warp, under_way[done++]);
  under_way.erase(under_way.begin(), under_way.begin() + static_cast<std::ptrdiff_t>(done));
}

void Hopper::multiply(unsigned warp, const Product& product, Sums* const (&of_lane)[kLanes]) {
  const auto n = static_cast<std::size_t>(product.n);
  const CodePlace place = 0;
  thread_local float a[kRowsOfWarp][kDepth], b[kDepth][kMostColumns];
  each_chunk(warp, product, [&](std::uint32_t at, bool is_b, std::uint32_t mn, std::uint32_t k) {
    const auto conflict = block_.races_.access(warp, 0, at, kChunkBytes, AccessKind::read, place);
    if (conflict.found) block_.report(conflict, at, ("wgmma " + to_string(product.where) + " reads").c_str(), place);
    end_read(at, kChunkBytes);
    std::uint16_t bits[8];
    std::memcpy(bits, block_.shared_ + at, sizeof bits);
    const bool along_mn = is_b ? product.b_along_n : product.a_along_m;
    for (std::uint32_t i = 0; i < 8; ++i) {
      const float value = std::bit_cast<float>(std::uint32_t{bits[i]} << 16);
      const std::uint32_t row = mn + (along_mn ? i : 0), depth = k + (along_mn ? 0 : i);
      (is_b ? b[depth][row] : a[row][depth]) = value;
    }
  });
  for (std::uint32_t m = 0; m < kRowsOfWarp; ++m) {
    double sums[kMostColumns] = {};
    for (std::uint32_t k = 0; k < kDepth; ++k)
      for (std::size_t j = 0; j < n; ++j) sums[j] += static_cast<double>(a[m][k]) * static_cast<double>(b[k][j]);
    // Lane t holds rows t / 4 and t / 4 + 8, of every eight columns those from t % 4 * 2 on.
    for (std::size_t j = 0; j < n; ++j) {
      float& sum = of_lane[m % 8 * 4 + j % 8 / 2]->values[j / 8 * 4 + m / 8 * 2 + j % 2];
      sum = static_cast<float>(static_cast<double>(sum) + sums[j]);
    }
  }
}

void Hopper::compute(unsigned warp, const WarpProduct& work) {
  const Product& product = work.product;
  Sums* of_lane[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane)
    of_lane[lane] = &sums_at(warp * kLanes + lane, work.sums[lane], product.n / 2, product.where);
  if (sampled_blocks() == 0) multiply(warp, product, of_lane);
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (--of_lane[lane]->in_flight == 0)
      std::copy(of_lane[lane]->values.begin(), of_lane[lane]->values.end(), work.sums[lane]);
}

// ---------------------------------------------------------------------------------------------------------- registers

bool Hopper::grant(unsigned warp, unsigned count) {
  unsigned taken = 0;
  for (unsigned other = 0; other < kMaxWarps; ++other) taken += (other == warp ? count : registers_[other]) * kLanes;
  if (taken > register_pool_) return false;
  registers_[warp] = count;
  return true;
}

void Hopper::complete_registers(Block& block, unsigned warp, Rendezvous& met) {
  Hopper& self = block.hopper();
  const auto change = *static_cast<RegisterChange*>(met.lanes[0]);
  const unsigned before = self.registers_[warp];
  if (change.count % 8 != 0 || change.count < 24 || change.count > 256 ||
      (change.more ? change.count < before : change.count > before))
    block.fail("setmaxnreg " + to_string(met.where) + ": from " + std::to_string(before) + " to " +
               std::to_string(change.count) + " registers, " + (change.more ? "to have more" : "to have fewer") +
               "; a multiple of 8 from 24 to 256 in that direction is expected");
  self.wanted_[warp] = change.count;
  if (change.more) return;
  self.registers_[warp] = change.count;
  for (const unsigned id : std::exchange(self.register_waiters_, {})) block.wake(id);
}

void Hopper::set_registers(unsigned count, bool more, Where where) {
  use();
  RegisterChange change{count, more};
  block_.collective("setmaxnreg", 0xFFFFFFFFu, where, &change, complete_registers);
  const unsigned warp = block_.warp();
  while (more && registers_[warp] != count && !grant(warp, count)) {
    register_waiters_.push_back(block_.running_);
    block_.wait("setmaxnreg", where);
  }
}

// ------------------------------------------------------------------------------------------------------------ the end

void Hopper::finish_thread() {
  const unsigned id = block_.running_;
  if (!products_[id / kLanes].empty())
    block_.fail("returns while wgmma " + to_string(products_[id / kLanes].front().product.where) +
                " has not been waited for");
  for (const Store& store : stores_) {
    if (store.thread != id) continue;
    if (!store.read)
      block_.fail("returns while the bulk store " + to_string(store.where) +
                  " has not been waited for to have read shared memory");
    write_target(store);
  }
}

std::string Hopper::finish_block() const {
  if (!loads_.empty())
    return block_.describe(
        thread_name(loads_[0].thread),
        "the block ends while its bulk load " + to_string(loads_[0].where) + " is under way: nobody waited for it",
        loads_[0].where);
  for (unsigned warp = 0; warp < kMaxWarps; ++warp)
    if (const unsigned first = warp / kWarpsOfGroup * kWarpsOfGroup;
        registers_[warp] > 0 && registers_[warp] != registers_[first])
      return block_.describe(thread_name(warp * kLanes),
                             "its warp ends with " + std::to_string(registers_[warp]) +
                                 " registers, the first of its warpgroup with " + std::to_string(registers_[first]),
                             {});
  return "";
}

}  // namespace retort::simt
