// The product behind convolutions and linear layers where the device has compute capability 9.0: C [m, n] = A [m, k]
// B [k, n] of bf16 with f32 sums, A gathered from an image as it is read.
//
// As many blocks as the device has multiprocessors make tiles of C one after another. Three warpgroups share a ring of
// stages in shared memory, each a slice of 64 along k of A and B:
//
//   the producer   one of its threads waits until a stage is empty, and has bulk copies fill it   (hopper_operands.h)
//   two consumers  wait until a stage is full and multiply 64 rows each by wgmma; at the tile's end
//                  they write its sums, while the producer goes on with the next tile             (hopper_results.h)
//
// A stage's barrier `full` waits for the bytes of its copies, `empty` for the eight consuming warps.
#pragma once

#include "kernels/cuda/dev_hopper.h"
#include "kernels/cuda/hopper_operands.h"
#include "kernels/cuda/hopper_results.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kHopperThreads = 3 * kGroup;
/// The producer's registers and the consumers': together those that 384 threads of 168 are launched with.
inline constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
inline constexpr unsigned kConsumerWarps = 8;

/// Which tiles there are, and slices along k: one kernel parameter with the policies, so that the maps lie in constant
/// memory.
template <class Operands, class Result>
struct HopperArguments {
  Operands operands;
  Result result;
  int tiles_m = 0, tiles_n = 0;
  int splits = 1, slices = 0, per_split = 0;  ///< of a tile
};

/// A tile, or the share of one of its splits.
struct HopperTask {
  int m0, n0, split, first_slice, end_slice;
  template <class Tile, class Arguments>
  static __device__ __forceinline__ HopperTask at(const Arguments& g, int index) {
    const int tiles = g.tiles_m * g.tiles_n, tile = index % tiles, split = index / tiles;
    const int first = split * g.per_split, end = first + g.per_split;
    return {tile / g.tiles_n * Tile::kM, tile % g.tiles_n * Tile::kN, split, first, end < g.slices ? end : g.slices};
  }
};

/// Dynamic shared memory of a block.
template <class Tile>
class HopperShared {
 public:
  static constexpr std::size_t kBytes = std::size_t{dev::kBoxAtomBytes} + Tile::kStages * Tile::kStageBytes +
                                        Tile::kBytesC + 2 * Tile::kStages * sizeof(dev::Mbarrier);
  __device__ explicit HopperShared(void* memory) {
    auto* const bytes = static_cast<unsigned char*>(memory);
    base_ = bytes + (dev::kBoxAtomBytes - dev::shared_address(bytes) % dev::kBoxAtomBytes) % dev::kBoxAtomBytes;
  }
  __device__ __forceinline__ unsigned char* a(int stage) const { return base_ + stage * Tile::kStageBytes; }
  __device__ __forceinline__ unsigned char* b(int stage) const { return a(stage) + Tile::kBytesA; }
  /// Where a consumer, 0 or 1, stages its part of C.
  __device__ __forceinline__ unsigned char* c(int consumer) const {
    return a(Tile::kStages) + consumer * (Tile::kBytesC / 2);
  }
  __device__ __forceinline__ dev::Mbarrier& full(int stage) const { return barriers()[stage]; }
  __device__ __forceinline__ dev::Mbarrier& empty(int stage) const { return barriers()[Tile::kStages + stage]; }

 private:
  __device__ __forceinline__ dev::Mbarrier* barriers() const { return reinterpret_cast<dev::Mbarrier*>(c(2)); }
  unsigned char* base_;
};

/// Where in the ring a warp stands, and the parity of its turn.
template <int kStages>
struct RingPlace {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

/// Fills the stages of all the block's tiles: one thread.
template <class Tile, class Arguments>
__device__ __forceinline__ void produce(const Arguments& g, const HopperShared<Tile>& shared) {
  RingPlace<Tile::kStages> place;
  for (int task = static_cast<int>(blockIdx.x); task < g.tiles_m * g.tiles_n * g.splits;
       task += static_cast<int>(gridDim.x)) {
    const auto at = HopperTask::at<Tile>(g, task);
    auto cursor = g.operands.start(at.m0, at.n0, at.first_slice);
    for (int slice = at.first_slice; slice < at.end_slice; ++slice, place.advance()) {
      // A ring begins empty: the phase before the first counts as over.
      dev::mbarrier_wait(shared.empty(place.stage), place.parity ^ 1);
      dev::Mbarrier& full = shared.full(place.stage);
      dev::mbarrier_expect(full, Tile::kStageBytes);
      g.operands.load(cursor, shared.a(place.stage), shared.b(place.stage), full);
    }
  }
}

/// Multiplies the stages of all the block's tiles and writes the sums: a warpgroup, consumer 0 or 1.
template <class Tile, class Operands, class Result>
__device__ __forceinline__ void consume(const HopperArguments<Operands, Result>& g, const HopperShared<Tile>& shared,
                                        int consumer) {
  constexpr bool kAlongM = Operands::kAlongM, kAlongN = Operands::kAlongN;
  constexpr int kStep = 16;  // of k, a wgmma
  constexpr int kStepBytes = kStep * 2, kStepRows = kStep * dev::kBoxRowBytes;
  const bool signals = threadIdx.x % kWarp == 0;
  RingPlace<Tile::kStages> place;
  for (int task = static_cast<int>(blockIdx.x); task < g.tiles_m * g.tiles_n * g.splits;
       task += static_cast<int>(gridDim.x)) {
    const auto at = HopperTask::at<Tile>(g, task);
    // Cleared here and not by the first wgmma, for which ptxas would keep a second set.
    float sums[Tile::kN / 2];
#pragma unroll
    for (float& sum : sums) sum = 0;
    int before = -1;  // the stage that the products in flight read
    for (int slice = at.first_slice; slice < at.end_slice; ++slice, place.advance()) {
      dev::mbarrier_wait(shared.full(place.stage), place.parity);
      const std::uint64_t a =
          dev::matrix_descriptor(dev::shared_address(shared.a(place.stage)) + consumer * kBox64Bytes, kBox64Bytes);
      const std::uint64_t b = dev::matrix_descriptor(dev::shared_address(shared.b(place.stage)), kBox64Bytes);
      dev::wgmma_fence();
#pragma unroll
      for (int i = 0; i < kSliceDepth / kStep; ++i)
        dev::wgmma<kAlongM, kAlongN>(sums, a + (i * (kAlongM ? kStepRows : kStepBytes) >> 4),
                                     b + (i * (kAlongN ? kStepRows : kStepBytes) >> 4));
      dev::wgmma_commit();
      dev::wgmma_wait<1>();
      if (before >= 0 && signals) dev::mbarrier_arrive(shared.empty(before));
      before = place.stage;
    }
    dev::wgmma_wait<0>();
    if (before >= 0 && signals) dev::mbarrier_arrive(shared.empty(before));
    g.result.write(sums, consumer, at.m0 + consumer * 64, at.n0, at.split, shared.c(consumer));
  }
  g.result.finish();
}

/// Grid: x, blocks that share all tasks.
template <class Tile, class Operands, class Result>
__global__ void __launch_bounds__(kHopperThreads, 1)
    hopper_product(const __grid_constant__ HopperArguments<Operands, Result> g) {
  const HopperShared<Tile> shared(dev::dynamic_shared());
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      dev::mbarrier_init(shared.full(stage), 1);
      dev::mbarrier_init(shared.empty(stage), kConsumerWarps);
    }
    dev::mbarrier_init_fence();
  }
  dev::syncthreads();
  if (group == 0) {
    dev::fewer_registers<kProducerRegisters>();
    if (threadIdx.x < kWarp && dev::elect()) produce(g, shared);
  } else {
    dev::more_registers<kConsumerRegisters>();
    consume(g, shared, group - 1);
  }
}

}  // namespace retort::RETORT_BACKEND
