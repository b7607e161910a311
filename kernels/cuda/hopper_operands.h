// The operands of hopper_product.h: for each of its passes, which bulk copies fill a stage with a slice of A and B.
// A policy is a value: start() gives a place along k, load() fetches the slice there and moves on.
#pragma once

#include "kernels/cuda/dev_hopper.h"
#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kSliceDepth = 64;  ///< along k: a row of a box
inline constexpr int kBox64Bytes = 64 * dev::kBoxRowBytes;

/// What a block makes at a time: 128 rows and kN columns of C. The stages take what shared memory holds beside C.
template <int kN_>
struct HopperTile {
  static constexpr int kM = 128, kN = kN_;
  static constexpr int kBytesA = kM * dev::kBoxRowBytes, kBytesB = kN * dev::kBoxRowBytes,
                       kStageBytes = kBytesA + kBytesB, kBytesC = kM * kN * 2;
  static constexpr int kStages = (227 * 1024 - 2048 - kBytesC) / kStageBytes;
};

/// The grid of pixels whose windows are read, and the tap at which each window begins.
struct HopperGrid {
  int rows = 0, columns = 0;  ///< of an image
  int first_h = 0, first_w = 0, step_h = 0, step_w = 0;
  __device__ __forceinline__ int h(const GridPixel& pixel) const { return first_h + pixel.row * step_h; }
  __device__ __forceinline__ int w(const GridPixel& pixel) const { return first_w + pixel.column * step_w; }
};

/// The taps of a window: number i, j lies (offset_h + i * move_h, offset_w + j * move_w) beyond the first corner.
struct HopperTaps {
  int across = 1;  ///< taps in a row
  int offset_h = 0, offset_w = 0, move_h = 0, move_w = 0;
  __device__ __forceinline__ int h(int i) const { return offset_h + i * move_h; }
  __device__ __forceinline__ int w(int j) const { return offset_w + j * move_w; }
};

/// fprop and dgrad: rows are pixels of a grid, k = (tap, channel). kGathered: the window is more than the pixel itself.
/// kFilterAlongN: the filter lies [taps][k][n] (fprop), else [taps][n][k].
template <class Tile, bool kGathered, bool kFilterAlongN>
struct WindowOperands {
  static constexpr bool kAlongM = false, kAlongN = kFilterAlongN;
  dev::TensorMap image, filter;
  HopperGrid grid;
  HopperTaps taps;
  int channel_slices = 0;
  int filter_first = 0, filter_step_h = 0, filter_step_w = 0;  ///< the filter's tap of number i, j

  struct Cursor {
    int m0, n0, h, w, image;
    int i, j, channel_slice;
  };
  __device__ __forceinline__ Cursor start(int m0, int n0, int slice) const {
    const int tap = slice / channel_slices;
    Cursor at{m0, n0, 0, 0, 0, tap / taps.across, tap % taps.across, slice % channel_slices};
    if constexpr (kGathered) {
      const GridPixel pixel(m0, grid.rows, grid.columns);
      at.h = grid.h(pixel), at.w = grid.w(pixel), at.image = pixel.image;
    }
    return at;
  }
  __device__ __forceinline__ void load(Cursor& at, unsigned char* a, unsigned char* b, dev::Mbarrier& full) const {
    const int channel = at.channel_slice * kSliceDepth;
    const int tap = filter_first + at.i * filter_step_h + at.j * filter_step_w;
    if constexpr (kGathered)
      dev::load_pixels(a, image, full, {channel, at.w, at.h, at.image}, {taps.w(at.j), taps.h(at.i)});
    else
      dev::load_box(a, image, full, {channel, at.m0});
    if constexpr (kFilterAlongN) {
      for (int n = 0; n < Tile::kN; n += 64)
        dev::load_box(b + n / 64 * kBox64Bytes, filter, full, {at.n0 + n, channel, tap});
    } else {
      dev::load_box(b, filter, full, {channel, at.n0, tap});
    }
    if (++at.channel_slice < channel_slices) return;
    at.channel_slice = 0;
    if (++at.j == taps.across) at.j = 0, ++at.i;
  }
};

/// wgrad: k are the pixels of a grid, rows are (tap, channel) with the channels of each tap filled up to a multiple of
/// 64. kGathered as above.
template <class Tile, bool kGathered>
struct PixelOperands {
  static constexpr bool kAlongM = true, kAlongN = true;
  dev::TensorMap image, gradient;
  HopperGrid grid;
  HopperTaps taps;
  int channel_slices = 0, runs = 0;  ///< runs: of 64 rows
  GridStep step{};                   ///< of 64 pixels

  struct Cursor {
    int m0, n0, first;  ///< first: pixel
    GridPixel pixel;
  };
  __device__ __forceinline__ Cursor start(int m0, int n0, int slice) const {
    const int first = slice * kSliceDepth;
    return {m0, n0, first, kGathered ? GridPixel(first, grid.rows, grid.columns) : GridPixel(0, 1, 1)};
  }
  __device__ __forceinline__ void load(Cursor& at, unsigned char* a, unsigned char* b, dev::Mbarrier& full) const {
    for (int m = 0; m < Tile::kM; m += 64) {
      // Rows beyond the last run get those of the last: nothing is written there.
      const int wanted = (at.m0 + m) / 64, run = wanted < runs ? wanted : runs - 1, tap = run / channel_slices,
                channel = run % channel_slices * 64;
      unsigned char* const target = a + m / 64 * kBox64Bytes;
      if constexpr (kGathered)
        dev::load_pixels(target, image, full, {channel, grid.w(at.pixel), grid.h(at.pixel), at.pixel.image},
                         {taps.w(tap % taps.across), taps.h(tap / taps.across)});
      else
        dev::load_box(target, image, full, {channel, at.first});
    }
    for (int n = 0; n < Tile::kN; n += 64)
      dev::load_box(b + n / 64 * kBox64Bytes, gradient, full, {at.n0 + n, at.first});
    at.first += kSliceDepth;
    if constexpr (kGathered) at.pixel.advance(step, grid.rows, grid.columns);
  }
};

}  // namespace retort::RETORT_BACKEND
