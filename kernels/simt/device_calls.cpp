// What a running kernel asks of the simulator: the calls behind dev_simt.h.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cuda/dev_hopper.h"
#include "kernels/simt/block.h"
#include "kernels/simt/hopper.h"

namespace retort::simt {
namespace {

Block& block() { return *Block::current(); }

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

template <class T>
std::atomic_ref<T> shared_value(T* address, const void* from) {
  block().access(address_of(address), sizeof(T), AccessKind::atomic, from);
  return std::atomic_ref(*address);
}

/// Atomically *address = change(*address); returns the old value.
template <class T, class Change>
T update(T* address, const void* from, const Change& change) {
  std::atomic_ref<T> target = shared_value(address, from);
  T old = target.load();
  while (!target.compare_exchange_weak(old, change(old))) {
  }
  return old;
}

struct ShuffleArguments {
  Shuffle kind;
  std::uint32_t value;
  int argument;
  std::uint32_t result = 0;
};

void complete_shuffle(Block& block, unsigned, Rendezvous& met) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(met.mask >> lane & 1)) continue;
    auto& mine = *static_cast<ShuffleArguments*>(met.lanes[lane]);
    int source = static_cast<int>(lane);
    switch (mine.kind) {
      case Shuffle::index: source = mine.argument & 31; break;
      case Shuffle::up: source -= mine.argument; break;
      case Shuffle::down: source += mine.argument; break;
      case Shuffle::exclusive_or: source ^= mine.argument; break;
    }
    if (source < 0 || source > 31) source = static_cast<int>(lane);
    if (!(met.mask >> source & 1))
      block.fail("shuffle " + to_string(met.where) + ": lane " + std::to_string(lane) + " reads lane " +
                 std::to_string(source) + ", which is not in the mask");
    mine.result = static_cast<ShuffleArguments*>(met.lanes[source])->value;
  }
}

struct VoteArguments {
  std::uint32_t value, result = 0;
};

void complete_ballot(Block&, unsigned, Rendezvous& met) {
  std::uint32_t votes = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (met.mask >> lane & 1 && static_cast<VoteArguments*>(met.lanes[lane])->value) votes |= 1u << lane;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (met.mask >> lane & 1) static_cast<VoteArguments*>(met.lanes[lane])->result = votes;
}

void complete_sum(Block&, unsigned, Rendezvous& met) {
  std::uint32_t sum = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (met.mask >> lane & 1) sum += static_cast<VoteArguments*>(met.lanes[lane])->value;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (met.mask >> lane & 1) static_cast<VoteArguments*>(met.lanes[lane])->result = sum;
}

void complete_syncwarp(Block& block, unsigned warp, Rendezvous&) { block.count_warp_barrier(warp); }

struct MatrixArguments {
  std::uint32_t* registers;
  const std::uint16_t* row;
};

/// Lane l's register i holds two elements of row l / 4 (or of column l / 4) of matrix i, whose rows lanes 8i to 8i + 7
/// point at.
template <bool kTransposed>
void complete_ldmatrix(Block& block, unsigned, Rendezvous& met) {
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const void* rows[8];
    for (unsigned row = 0; row < 8; ++row) rows[row] = static_cast<MatrixArguments*>(met.lanes[matrix * 8 + row])->row;
    block.count_matrix(rows);
  }
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      const auto element = [&](unsigned row, unsigned column) {
        return std::uint32_t{static_cast<MatrixArguments*>(met.lanes[matrix * 8 + row])->row[column]};
      };
      const unsigned a = lane / 4, b = lane % 4 * 2;
      static_cast<MatrixArguments*>(met.lanes[lane])->registers[matrix] =
          kTransposed ? element(b, a) | element(b + 1, a) << 16 : element(a, b) | element(a, b + 1) << 16;
    }
}

struct StoreMatrixArguments {
  std::uint16_t* row;
  const std::uint32_t* registers;
};

/// The opposite of ldmatrix.
void complete_stmatrix(Block&, unsigned, Rendezvous& met) {
  const auto of = [&](unsigned lane) { return static_cast<StoreMatrixArguments*>(met.lanes[lane]); };
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      std::uint16_t* const row = of(matrix * 8 + lane / 4)->row;
      const std::uint32_t pair = of(lane)->registers[matrix];
      row[lane % 4 * 2] = static_cast<std::uint16_t>(pair);
      row[lane % 4 * 2 + 1] = static_cast<std::uint16_t>(pair >> 16);
    }
}

struct MmaArguments {
  MmaType type;
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

float half_to_float(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                 : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return bits & 0x8000 ? -value : value;
}

float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

void count_mma(Block& block, MmaType type) {
  const std::uint64_t depth = type == MmaType::tf32 ? 8 : 16;
  block.count_tensor(2 * 16 * 8 * depth, type == MmaType::tf32);
}

/// d [16, 8] += a [16, k] b [k, 8], k = 8 for tf32, else 16; sums in double, rounded once.
void complete_mma(Block& block, unsigned, Rendezvous& met) {
  double a[16][16], b[16][8];
  const auto of = [&](unsigned lane) -> MmaArguments& { return *static_cast<MmaArguments*>(met.lanes[lane]); };
  const MmaType type = of(0).type;
  const int depth = type == MmaType::tf32 ? 8 : 16;
  count_mma(block, type);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, t = lane % 4;
    const MmaArguments& mine = of(lane);
    if (type == MmaType::tf32) {
      const auto value = [](std::uint32_t word) { return double{std::bit_cast<float>(word & 0xFFFFE000u)}; };
      for (unsigned i = 0; i < 4; ++i) a[group + i % 2 * 8][t + i / 2 * 4] = value(mine.a[i]);
      for (unsigned i = 0; i < 2; ++i) b[t + i * 4][group] = value(mine.b[i]);
      continue;
    }
    const auto value = [type](std::uint32_t word, unsigned half) {
      const auto bits = static_cast<std::uint16_t>(word >> 16 * half);
      return double{type == MmaType::bf16 ? bf16_to_float(bits) : half_to_float(bits)};
    };
    for (unsigned half = 0; half < 2; ++half) {
      for (unsigned i = 0; i < 4; ++i) a[group + i % 2 * 8][t * 2 + i / 2 * 8 + half] = value(mine.a[i], half);
      for (unsigned i = 0; i < 2; ++i) b[t * 2 + i * 8 + half][group] = value(mine.b[i], half);
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = of(lane).d[i];
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
      of(lane).d[i] = static_cast<float>(sum);
    }
}

}  // namespace

Dim3 thread_index() { return block().thread().index; }
Dim3 block_index() { return block().index; }
Dim3 block_dim() { return block().size; }
Dim3 grid_dim() { return block().grid; }

void touch_read(const void* address, std::size_t bytes, const void* from) {
  block().access(address_of(address), bytes, AccessKind::read, from);
}
void touch_write(const void* address, std::size_t bytes, const void* from) {
  block().access(address_of(address), bytes, AccessKind::write, from);
}

int atomic_add(int* address, int value) { return shared_value(address, __builtin_return_address(0)).fetch_add(value); }
float atomic_add(float* address, float value) {
  return update(address, __builtin_return_address(0), [value](float old) { return old + value; });
}
int atomic_or(int* address, int value) { return shared_value(address, __builtin_return_address(0)).fetch_or(value); }
int atomic_max(int* address, int value) {
  return update(address, __builtin_return_address(0), [value](int old) { return std::max(old, value); });
}

void* dynamic_shared() { return block().dynamic_shared(); }
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* type) {
  return block().static_shared(key, bytes, alignment, type);
}

int syncthreads(int op, int predicate, const char* file, int line) {
  return block().syncthreads(op, predicate, {file, line});
}
void named_barrier(unsigned id, unsigned threads, bool wait, const char* file, int line) {
  block().named_barrier(id, threads, wait, {file, line});
}
void syncwarp(std::uint32_t mask, const char* file, int line) {
  block().collective("__syncwarp", mask, {file, line}, nullptr, complete_syncwarp);
}

std::uint32_t shuffle(Shuffle kind, std::uint32_t mask, std::uint32_t value, int argument, const char* file, int line) {
  ShuffleArguments arguments{kind, value, argument};
  block().collective("shuffle", mask, {file, line}, &arguments, complete_shuffle);
  return arguments.result;
}
std::uint32_t ballot(std::uint32_t mask, bool predicate, const char* file, int line) {
  VoteArguments arguments{predicate};
  block().collective("vote", mask, {file, line}, &arguments, complete_ballot);
  return arguments.result;
}
std::uint32_t reduce_add(std::uint32_t mask, std::uint32_t value, const char* file, int line) {
  VoteArguments arguments{value};
  block().collective("reduce_add", mask, {file, line}, &arguments, complete_sum);
  return arguments.result;
}

void copy_async(void* target, const void* source, std::size_t bytes, std::size_t valid, const void* from) {
  block().copy_async(target, source, bytes, valid, from);
}
void copy_commit() { block().commit_copies(); }
void copy_wait(std::size_t pending) { block().wait_copies(pending); }

void ldmatrix_x4(std::uint32_t* registers, const void* row, bool transposed, const void* from, const char* file,
                 int line) {
  block().check_row(row, from);
  MatrixArguments arguments{registers, static_cast<const std::uint16_t*>(row)};
  block().collective("ldmatrix", 0xFFFFFFFFu, {file, line}, &arguments,
                     transposed ? complete_ldmatrix<true> : complete_ldmatrix<false>);
}

void mma(MmaType type, float* d, const std::uint32_t* a, const std::uint32_t* b, const char* file, int line) {
  if (sampled_blocks() > 0) {  // counted and not made, so lanes need not meet
    if (block().lane() == 0) count_mma(block(), type);
    return;
  }
  MmaArguments arguments{type, d, a, b};
  block().collective("mma", 0xFFFFFFFFu, {file, line}, &arguments, complete_mma);
}

std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(address_of(pointer) - address_of(block().dynamic_shared()));
}
void mbarrier_init(std::uint64_t* barrier, unsigned arrivals, const char* file, int line, const void* from) {
  block().hopper().barrier_init(barrier, arrivals, {file, line}, from);
}
void mbarrier_init_fence() { block().hopper().barrier_fence(); }
void mbarrier_arrive(std::uint64_t* barrier, std::uint32_t bytes, const char* file, int line) {
  block().hopper().barrier_arrive(barrier, bytes, {file, line});
}
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, const char* file, int line) {
  block().hopper().barrier_wait(barrier, parity, {file, line});
}
void bulk_load(void* shared, const TensorMap& map, std::uint64_t* barrier, const BoxPlace& place, bool im2col,
               const char* file, int line, const void* from) {
  block().hopper().load(shared, map, barrier, place, im2col, {file, line}, from);
}
void bulk_store(const TensorMap& map, const void* shared, const BoxPlace& place, const char* file, int line,
                const void* from) {
  block().hopper().store(map, shared, place, {file, line}, from);
}
void bulk_store_commit() { block().hopper().commit_stores(); }
void bulk_store_wait_read(unsigned pending) { block().hopper().wait_stores_read(pending); }
void proxy_fence() { block().hopper().proxy_fence(); }
void wgmma_fence() { block().hopper().product_fence(); }
void wgmma(int n, float* sums, std::uint64_t a, std::uint64_t b, bool a_along_m, bool b_along_n, const char* file,
           int line) {
  block().hopper().product({n, a, b, a_along_m, b_along_n, {file, line}}, sums);
}
void wgmma_commit() { block().hopper().commit_products(); }
void wgmma_wait(unsigned pending, const char* file, int line) { block().hopper().wait_products(pending, {file, line}); }
void set_registers(unsigned count, bool more, const char* file, int line) {
  block().hopper().set_registers(count, more, {file, line});
}

void stmatrix_x4(void* row, const std::uint32_t* registers, const void* from, const char* file, int line) {
  block().access(address_of(row), 16, AccessKind::write, from);
  StoreMatrixArguments arguments{static_cast<std::uint16_t*>(row), registers};
  block().collective("stmatrix", 0xFFFFFFFFu, {file, line}, &arguments, complete_stmatrix);
}

void yield() { block().yield(); }

}  // namespace retort::simt
