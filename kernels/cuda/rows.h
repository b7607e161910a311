// Rows of logits, held so that each element is read from memory once where that is possible: up to 1024 classes lie in
// one warp's registers; longer rows belong to a block, which reads them again for each pass (then from the L2 cache).
//
// Both kinds offer each(f): f(index, value) for the elements of the calling thread; update(f), whose changes a row in
// registers keeps; and map(out, f). A group offers sum and max over its threads. An algorithm written against them
// serves both.
#pragma once

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kRegisterClasses = 1024, kRowThreads = 256;

struct WarpGroup {
  static constexpr int kSize = kWarp;
  __device__ static int rank() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ float sum(float value) const { return warp_reduce(value, Sum{}); }
  __device__ float max(float value) const { return warp_reduce(value, Max{}); }
};

struct BlockGroup {
  static constexpr int kSize = kRowThreads;
  float* scratch;  ///< kRowThreads / 32 floats of shared memory
  __device__ static int rank() { return static_cast<int>(threadIdx.x); }
  __device__ float sum(float value) const { return block_reduce<kRowThreads>(value, Sum{}, scratch); }
  __device__ float max(float value) const { return block_reduce<kRowThreads>(value, Max{}, scratch); }
};

/// exp(x). For bf16 elements the hardware's fast exponential: its error, 25 units in the last place of a float at
/// x = -20, is a thousandth of theirs.
template <class T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (sizeof(T) == 2)
    return dev::fast_exp(x);
  else
    return expf(x);
}

/// A row in the registers of a warp: kItems elements a lane, read kN at a time.
template <class T, int kItems, int kN>
class RegisterRow {
 public:
  __device__ RegisterRow(const T* row, int classes) : classes_(classes) {
#pragma unroll
    for (int j = 0; j < kItems; j += kN) {
      const int i = index(j);
      if (i >= classes) continue;
      float values[kN];
      widen<T>(dev::load<Packed<T, kN>>(row + i), values);
      for (int k = 0; k < kN; ++k) values_[j + k] = values[k];
    }
  }

  static constexpr bool kHeld = true;
  static constexpr int kValues = kItems;  ///< in a lane's registers
  static constexpr int kAtOnce = kN;      ///< elements of an access

  /// A row of the same extent, its values still to be written.
  __device__ explicit RegisterRow(int classes) : classes_(classes) {}

  /// f(i, this row's value, the others') for the thread's elements; what f writes to the values stays.
  template <class F, class... Rows>
  __device__ __forceinline__ void update(const F& f, Rows&... others) {
#pragma unroll
    for (int j = 0; j < kItems; ++j) {
      const int i = index(j - j % kN);
      if (i < classes_) f(i + j % kN, values_[j], others.values_[j]...);
    }
  }

  /// f(i, this row's value, the others' values) for the thread's elements.
  template <class F, class... Rows>
  __device__ __forceinline__ void each(const F& f, const Rows&... others) const {
#pragma unroll
    for (int j = 0; j < kItems; ++j) {
      const int i = index(j - j % kN);
      if (i < classes_) f(i + j % kN, values_[j], others.values_[j]...);
    }
  }

  /// out[i] = f(i, this row's value, the others'), written as it was read.
  template <class F, class... Rows>
  __device__ __forceinline__ void map(T* out, const F& f, const Rows&... others) const {
#pragma unroll
    for (int j = 0; j < kItems; j += kN) {
      const int i = index(j);
      if (i >= classes_) continue;
      float results[kN];
      for (int k = 0; k < kN; ++k) results[k] = f(i + k, values_[j + k], others.values_[j + k]...);
      dev::store(out + i, narrow<T>(results));
    }
  }

 private:
  /// The class of the lane's item j, a multiple of kN.
  __device__ static int index(int j) { return j * kWarp + WarpGroup::rank() * kN; }
  float values_[kItems];
  int classes_;
};

/// A row in memory, read kN at a time by a block, for every pass again.
template <class T, int kN>
class MemoryRow {
 public:
  __device__ MemoryRow(const T* row, int classes) : row_(row), classes_(classes) {}

  static constexpr bool kHeld = false;
  static constexpr int kValues = 0, kAtOnce = kN;

  /// A row of the same extent that holds nothing.
  __device__ explicit MemoryRow(int classes) : classes_(classes) {}

  /// As each; f gets copies, and what it writes to them is lost.
  template <class F, class... Rows>
  __device__ __forceinline__ void update(const F& f, Rows&... others) {
    each([&](int i, auto... values) { f(i, values...); }, others...);
  }

  template <class F, class... Rows>
  __device__ __forceinline__ void each(const F& f, const Rows&... others) const {
    for (int i = BlockGroup::rank() * kN; i < classes_; i += BlockGroup::kSize * kN)
      visit([&](int k, auto... values) { f(i + k, values...); }, at(i), others.at(i)...);
  }
  template <class F, class... Rows>
  __device__ __forceinline__ void map(T* out, const F& f, const Rows&... others) const {
    for (int i = BlockGroup::rank() * kN; i < classes_; i += BlockGroup::kSize * kN) {
      float results[kN];
      visit([&](int k, auto... values) { results[k] = f(i + k, values...); }, at(i), others.at(i)...);
      dev::store(out + i, narrow<T>(results));
    }
  }

 private:
  struct Values {
    float v[kN];
  };
  __device__ __forceinline__ Values at(int i) const {
    if (!row_) return {};
    Values values;
    widen<T>(dev::load<Packed<T, kN>>(row_ + i), values.v);
    return values;
  }
  template <class F, class... V>
  __device__ __forceinline__ static void visit(const F& f, const V&... rows) {
    for (int k = 0; k < kN; ++k) f(k, rows.v[k]...);
  }

  const T* row_ = nullptr;
  int classes_;
};

/// How a row is held, and by whom.
template <class G, class R>
struct RowKind {
  using Group = G;
  using Row = R;
  /// Blocks of a kernel of two such rows that fit a multiprocessor at once, for __launch_bounds__: nvcc then neither
  /// spills to fit more nor takes more registers than these leave.
  static constexpr int kBlocks = R::kValues > 8 ? 1 : 2;
};

/// Calls f(RowKind) with the kind for this number of classes; wide: rows may be read in packs.
template <class T, class F>
void with_rows(std::int64_t classes, bool wide, const F& f) {
  constexpr int kN = kPack<T>;
  if (classes > kRegisterClasses) {
    if (wide)
      f(RowKind<BlockGroup, MemoryRow<T, kN>>{});
    else
      f(RowKind<BlockGroup, MemoryRow<T, 1>>{});
  } else if (classes <= 256) {
    if (wide)
      f(RowKind<WarpGroup, RegisterRow<T, 8, kN>>{});
    else
      f(RowKind<WarpGroup, RegisterRow<T, 8, 1>>{});
  } else {
    if (wide)
      f(RowKind<WarpGroup, RegisterRow<T, 32, kN>>{});
    else
      f(RowKind<WarpGroup, RegisterRow<T, 32, 1>>{});
  }
}

/// The row of the calling group in a grid of kRowThreads-blocks; a warp beyond the last row has none.
template <class Group>
__device__ std::int64_t row_of_group() {
  constexpr int kPerBlock = kRowThreads / Group::kSize;
  return std::int64_t{blockIdx.x} * kPerBlock + static_cast<int>(threadIdx.x) / Group::kSize;
}
template <class Group>
dev::LaunchShape row_grid(std::int64_t rows) {
  constexpr int kPerBlock = kRowThreads / Group::kSize;
  return {{static_cast<unsigned>((rows + kPerBlock - 1) / kPerBlock)}, {kRowThreads}};
}

struct RowScratch {
  float values[kRowThreads / kWarp];
};
template <class Group>
__device__ Group make_group() {
  if constexpr (Group::kSize == kWarp)
    return {};
  else
    return {dev::shared<RowScratch>().values};
}

}  // namespace retort::RETORT_BACKEND
