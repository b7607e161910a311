// kernels/cuda/dev_hopper.h for the host: every name as a call to the simulator. Include dev_hopper.h, not this.
#pragma once

#include "kernels/simt/tensor_map.h"

#define __grid_constant__  // NOLINT(bugprone-reserved-identifier): CUDA's own word

namespace retort::simt {

// What a running kernel asks of the simulator (device_calls.cpp).
std::uint32_t shared_address(const void* pointer);
void mbarrier_init(std::uint64_t* barrier, unsigned arrivals, const char* file, int line, const void* from);
void mbarrier_init_fence();
void mbarrier_arrive(std::uint64_t* barrier, std::uint32_t bytes, const char* file, int line);
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, const char* file, int line);
void bulk_load(void* shared, const TensorMap& map, std::uint64_t* barrier, const BoxPlace& place, bool im2col,
               const char* file, int line, const void* from);
void bulk_store(const TensorMap& map, const void* shared, const BoxPlace& place, const char* file, int line,
                const void* from);
void bulk_store_commit();
void bulk_store_wait_read(unsigned pending);
void proxy_fence();
void wgmma_fence();
void wgmma(int n, float* sums, std::uint64_t a, std::uint64_t b, bool a_along_m, bool b_along_n, const char* file,
           int line);
void wgmma_commit();
void wgmma_wait(unsigned pending, const char* file, int line);
void set_registers(unsigned count, bool more, const char* file, int line);
void stmatrix_x4(void* row, const std::uint32_t* registers, const void* from, const char* file, int line);

}  // namespace retort::simt

namespace retort::dev {
inline namespace simulated {

#define RETORT_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

using TensorMap = simt::TensorMap;

inline bool on_hopper() { return simt::compute_capability() == 90; }
inline int multiprocessors() { return simt::multiprocessors(); }

template <std::size_t kRank>
TensorMap tiled_map(const BFloat16* data, const std::array<std::int64_t, kRank>& extents,
                    const std::array<int, kRank>& box) {
  static_assert(kRank <= simt::kMapRanks);
  TensorMap map;
  map.mark = simt::kMapMark;
  map.address = reinterpret_cast<std::uintptr_t>(data);
  map.rank = static_cast<std::int32_t>(kRank);
  std::uint64_t stride = sizeof(BFloat16);
  for (std::size_t d = 0; d < kRank; ++d) {
    map.extent[d] = static_cast<std::uint64_t>(extents[d]);
    map.stride[d] = stride;
    map.box[d] = static_cast<std::uint32_t>(box[d]);
    stride *= map.extent[d];
  }
  simt::check_map(map);
  return map;
}
inline TensorMap im2col_map(const BFloat16* data, const PixelWindow& window, int pixels) {
  TensorMap map = tiled_map<4>(data, {window.c, window.w, window.h, window.n}, {1, 1, 1, 1});
  map.lower = {window.lower_w, window.lower_h};
  map.upper = {window.upper_w, window.upper_h};
  map.step = {window.step_w, window.step_h};
  map.pixels = pixels;
  simt::check_map(map);
  return map;
}

inline std::uint32_t shared_address(const void* pointer) { return simt::shared_address(pointer); }

RETORT_UNSEEN inline void mbarrier_init(Mbarrier& b, unsigned arrivals, RETORT_WHERE) {
  simt::mbarrier_init(&b.word, arrivals, file, line, __builtin_return_address(0));
}
inline void mbarrier_init_fence() { simt::mbarrier_init_fence(); }
inline void mbarrier_arrive(Mbarrier& b, RETORT_WHERE) { simt::mbarrier_arrive(&b.word, 0, file, line); }
inline void mbarrier_expect(Mbarrier& b, std::uint32_t bytes, RETORT_WHERE) {
  simt::mbarrier_arrive(&b.word, bytes, file, line);
}
inline void mbarrier_wait(Mbarrier& b, unsigned parity, RETORT_WHERE) {
  simt::mbarrier_wait(&b.word, parity, file, line);
}

template <std::size_t kRank>
RETORT_UNSEEN void load_box(void* shared, const TensorMap& map, Mbarrier& b, const int (&at)[kRank], RETORT_WHERE) {
  simt::BoxPlace place;
  for (std::size_t d = 0; d < kRank; ++d) place.at[d] = at[d];
  simt::bulk_load(shared, map, &b.word, place, false, file, line, __builtin_return_address(0));
}
RETORT_UNSEEN inline void load_pixels(void* shared, const TensorMap& map, Mbarrier& b, const int (&at)[4],
                                      const int (&tap)[2], RETORT_WHERE) {
  const simt::BoxPlace place = {{at[0], at[1], at[2], at[3]},
                                {static_cast<std::uint32_t>(tap[0]), static_cast<std::uint32_t>(tap[1])}};
  simt::bulk_load(shared, map, &b.word, place, true, file, line, __builtin_return_address(0));
}
RETORT_UNSEEN inline void store_box(const TensorMap& map, const void* shared, const int (&at)[2], RETORT_WHERE) {
  simt::bulk_store(map, shared, {{at[0], at[1], 0, 0}, {}}, file, line, __builtin_return_address(0));
}
inline void store_commit() { simt::bulk_store_commit(); }
template <int kPending>
void store_wait_read() {
  simt::bulk_store_wait_read(kPending);
}

inline void proxy_fence() { simt::proxy_fence(); }
inline void wgmma_fence() { simt::wgmma_fence(); }
template <bool kAlongM, bool kAlongN, int kSums>
void wgmma(float (&sums)[kSums], std::uint64_t a, std::uint64_t b, RETORT_WHERE) {
  static_assert(kSums == 32 || kSums == 64 || kSums == 128);
  simt::wgmma(kSums * 2, sums, a, b, kAlongM, kAlongN, file, line);
}
inline void wgmma_commit() { simt::wgmma_commit(); }
template <int kPending>
void wgmma_wait(RETORT_WHERE) {
  simt::wgmma_wait(kPending, file, line);
}

template <int kRegisters>
void fewer_registers(RETORT_WHERE) {
  simt::set_registers(kRegisters, false, file, line);
}
template <int kRegisters>
void more_registers(RETORT_WHERE) {
  simt::set_registers(kRegisters, true, file, line);
}
/// In the first of the lanes, though the hardware may take any.
inline bool elect(RETORT_WHERE) {
  simt::ballot(kAllLanes, true, file, line);
  return threadIdx.x % 32 == 0;
}
RETORT_UNSEEN inline void stmatrix_x4(void* row, const std::uint32_t (&registers)[4], RETORT_WHERE) {
  simt::stmatrix_x4(row, registers, __builtin_return_address(0), file, line);
}
template <unsigned kId>
void group_barrier(unsigned threads, RETORT_WHERE) {
  simt::named_barrier(kId, threads, true, file, line);
}

#undef RETORT_WHERE

}  // namespace simulated
}  // namespace retort::dev
