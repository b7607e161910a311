// Rows of logits, held so that each element is read from memory once where that is possible: up to 1024 classes lie in
// one warp's registers; longer rows belong to a block, which reads them again for each pass (then from the L2 cache).
//
// Both kinds offer each(f): f(index, value) for the elements of the calling thread, and a group offers sum and max over
// its threads. An algorithm written against them serves both.
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

/// A row in the registers of a warp: kItems elements a lane, read kN at a time.
template <class T, int kItems, int kN>
class RegisterRow {
 public:
  static constexpr int kWide = kN;

  __device__ RegisterRow(const T* row, int classes) : classes_(classes) {
#pragma unroll
    for (int j = 0; j < kItems; j += kN) {
      const int i = index(j);
      if (i < classes) {
        const auto pack = dev::load<Pack<T, kN>>(row + i);
        for (int k = 0; k < kN; ++k) values_[j + k] = float(pack.v[k]);
      }
    }
  }

  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
#pragma unroll
    for (int j = 0; j < kItems; ++j)
      if (index(j - j % kN) < classes_) f(index(j - j % kN) + j % kN, values_[j]);
  }

  /// out[i] = f(i, this row's value, the other's), written as it was read.
  template <class F>
  __device__ __forceinline__ void map(const RegisterRow& other, T* out, const F& f) const {
#pragma unroll
    for (int j = 0; j < kItems; j += kN) {
      const int i = index(j);
      if (i >= classes_) continue;
      Pack<T, kN> pack;
      for (int k = 0; k < kN; ++k) pack.v[k] = T(f(i + k, values_[j + k], other.values_[j + k]));
      dev::store(out + i, pack);
    }
  }
  template <class F>
  __device__ __forceinline__ void each(const RegisterRow& other, const F& f) const {
#pragma unroll
    for (int j = 0; j < kItems; ++j)
      if (index(j - j % kN) < classes_) f(index(j - j % kN) + j % kN, values_[j], other.values_[j]);
  }

 private:
  /// The class of the lane's item j, a multiple of kN.
  __device__ static int index(int j) { return j * kWarp + WarpGroup::rank() * kN; }
  float values_[kItems];
  int classes_;
};

/// A row in memory, read kN at a time by a block.
template <class T, int kN>
class MemoryRow {
 public:
  __device__ MemoryRow(const T* row, int classes) : row_(row), classes_(classes) {}

  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
    for (int i = BlockGroup::rank() * kN; i < classes_; i += BlockGroup::kSize * kN) {
      const auto pack = dev::load<Pack<T, kN>>(row_ + i);
      for (int k = 0; k < kN; ++k) f(i + k, float(pack.v[k]));
    }
  }
  template <class F>
  __device__ __forceinline__ void each(const MemoryRow& other, const F& f) const {
    for (int i = BlockGroup::rank() * kN; i < classes_; i += BlockGroup::kSize * kN) {
      const auto pack = dev::load<Pack<T, kN>>(row_ + i), beside = dev::load<Pack<T, kN>>(other.row_ + i);
      for (int k = 0; k < kN; ++k) f(i + k, float(pack.v[k]), float(beside.v[k]));
    }
  }
  template <class F>
  __device__ __forceinline__ void map(const MemoryRow& other, T* out, const F& f) const {
    for (int i = BlockGroup::rank() * kN; i < classes_; i += BlockGroup::kSize * kN) {
      const auto pack = dev::load<Pack<T, kN>>(row_ + i), beside = dev::load<Pack<T, kN>>(other.row_ + i);
      Pack<T, kN> result;
      for (int k = 0; k < kN; ++k) result.v[k] = T(f(i + k, float(pack.v[k]), float(beside.v[k])));
      dev::store(out + i, result);
    }
  }

 private:
  const T* row_;
  int classes_;
};

/// Calls f(Group, Row type) as the number of classes asks: use as  with_rows<T>(classes, wide, [&]<class Rows>()
/// {...}).
template <class G, class R>
struct RowKind {
  using Group = G;
  using Row = R;
};

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
