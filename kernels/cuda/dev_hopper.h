// What kernels for compute capability 9.0 use of the hardware beside dev.h, under one set of names: inline PTX on the
// device (dev_hopper_cuda.h), plain C++ under the simulator (kernels/simt/dev_hopper_simt.h).
//
//   on the host
//   dev::on_hopper()                          whether the device in use has all of this
//   dev::multiprocessors()                    of the device in use
//   dev::TensorMap                            a tensor as bulk copies see it; kernels take it as a part of a
//                                             const __grid_constant__ parameter
//   dev::tiled_map(data, extents, box)        copies of boxes of a tensor without gaps, innermost dimension first
//   dev::im2col_map(data, window, pixels)     copies of the pixels that one tap of a window sees
//
//   in kernels
//   dev::mbarrier_init(b, arrivals), mbarrier_init_fence()    the latter before the block meets
//   dev::mbarrier_arrive(b), mbarrier_expect(b, bytes)        the latter arrives and adds bytes to wait for
//   dev::mbarrier_wait(b, parity)             until the phase of that parity is over
//   dev::load_box(shared, map, b, {x, y[, z]})                a tiled load, whose bytes complete b
//   dev::load_pixels(shared, map, b, {c, w, h, n}, {w, h})    an im2col load, from a first tap on, and the tap's
//   offsets dev::store_box(map, shared, {x, y})       a tiled store dev::store_commit(), store_wait_read<N>() until all
//   of the thread's stores but the last N groups have read shared
//                                             memory
//   dev::proxy_fence()                        ordinary stores of the thread become visible to copies and products
//   dev::wgmma<kAlongM, kAlongN>(sums, a, b)  adds a [64, 16] b [16, n] to the sums of a warpgroup, bf16
//   dev::wgmma_fence(), wgmma_commit(), wgmma_wait<N>()
//   dev::matrix_descriptor(shared, leading)   of an operand of wgmma
//   dev::stmatrix_x4(row, registers)          four 8 x 8 matrices to shared memory
//   dev::fewer_registers<N>(), more_registers<N>()            setmaxnreg
//   dev::elect()                              true in one lane of the warp
//   dev::group_barrier<kId>(threads)          named_barrier whose number is in the code: with one in a register nvcc
//                                             reserves all 16
//
// Boxes are rows of 128 bytes, 64 elements of bf16, swizzled: the 16-byte chunk j of row i lies where chunk
// j ^ (i % 8) would, in memory that begins at a multiple of 1,024 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/dev.h"

namespace retort::dev {

inline constexpr int kBoxRowBytes = 128;
/// A barrier in shared memory for arrivals of threads and for bytes of copies.
struct Mbarrier {
  std::uint64_t word;
};

/// Eight rows of a box, after which the swizzle repeats.
inline constexpr int kBoxAtomBytes = 1024;

/// The windows of an NHWC image whose channels c are copied: first taps from `lower` on, `step` apart, up to
/// extent - 1 + upper. W before H.
struct PixelWindow {
  std::int64_t c, w, h, n;
  int lower_w, lower_h, upper_w, upper_h, step_w, step_h;
};

/// A wgmma operand of swizzled boxes. Where its rows run along k, their groups of 8 follow each other and `leading` is
/// not read; where they run along m or n, `leading` is the distance in bytes to the next 64 of these. The next 16 of k
/// are 32 bytes, or 16 rows, further.
inline __device__ std::uint64_t matrix_descriptor(std::uint32_t shared_address, std::uint32_t leading) {
  constexpr std::uint64_t kStride = kBoxAtomBytes, kSwizzle128 = 1;
  return (shared_address & 0x3FFFF) >> 4 | std::uint64_t{leading >> 4} << 16 | kStride >> 4 << 32 | kSwizzle128 << 62;
}

}  // namespace retort::dev

#if defined(__CUDACC__)
#include "kernels/cuda/dev_hopper_cuda.h"
#else
#include "kernels/simt/dev_hopper_simt.h"
#endif
