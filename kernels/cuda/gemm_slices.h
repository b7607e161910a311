// The operands of implicit_gemm.h: what describes them, and the classes that copy slices of them into shared memory, 16
// bytes a copy, zeros where there is nothing.
#pragma once

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

enum class Pass : std::uint8_t { fprop, dgrad, wgrad, both_transposed };
enum class Math : std::uint8_t { exact, tf32, bf16 };

/// Pixels of a grid, each with a window of taps into an NHWC image: tap (i, j) of grid pixel (p, q) is the image's
/// pixel (p * mul_h + off_h + i * step_h, q * mul_w + off_w + j * step_w), zero outside.
template <class T>
struct Gather {
  const T* image = nullptr;
  int images = 0, h = 0, w = 0, pitch = 0;  ///< pitch: elements from pixel to pixel
  int rows = 0, columns = 0;                ///< of the grid, per image
  int mul_h = 0, mul_w = 0, off_h = 0, off_w = 0, step_h = 0, step_w = 0;
  int taps_h = 0, taps_w = 0, channels = 0;  ///< channels of one group
};

/// B. n contiguous: element (k, n) at k * pitch + n. k contiguous: k = (i, j, kk) of a filter's taps, element at
/// (((first_r + i * step_r) * filter_s + first_s + j * step_s) * rows + n) * pitch + kk.
template <class T>
struct Operand {
  const T* data = nullptr;
  int pitch = 0;
  int rows = 0, filter_s = 0, first_r = 0, first_s = 0, step_r = 0, step_s = 0;
  int taps_w = 0, channels = 0;  ///< along k, when that is contiguous
};

/// By how much a pixel of a grid [images][rows][columns] moves when its index grows by a fixed number: one digit for
/// each axis, so that no division is needed on the way.
struct GridStep {
  int images = 0, rows = 0, columns = 0;
};
inline GridStep grid_step(int by, int rows, int columns) {
  return {by / columns / rows, by / columns % rows, by % columns};
}

/// A pixel of a grid [images][rows][columns].
struct GridPixel {
  int image, row, column;
  __device__ GridPixel(int index, int rows, int columns)
      : image(index / columns / rows), row(index / columns % rows), column(index % columns) {}
  __device__ __forceinline__ void advance(const GridStep& by, int rows, int columns) {
    column += by.columns;
    row += by.rows;
    image += by.images;
    if (column >= columns) column -= columns, ++row;
    if (row >= rows) row -= rows, ++image;
  }
  /// Where the image's pixel of a strided grid begins; c is the grid's Output.
  template <class Output>
  __device__ __forceinline__ std::int64_t offset(const Output& c) const {
    const std::int64_t y = std::int64_t{image} * c.h + row * c.mul_h + c.off_h;
    return (y * c.w + column * c.mul_w + c.off_w) * c.pitch;
  }
};

/// C: where an element goes and what is done to it on the way.
template <class T>
struct Output {
  T* data = nullptr;
  float* data_f32 = nullptr;  ///< in place of data where C is a parameter's gradient beside bf16 elements
  const float *scale = nullptr, *bias = nullptr;  ///< [n] of all groups, or null
  const T* residual = nullptr;                    ///< laid out as data, or null
  bool relu = false;
  int pitch = 0;
  // dgrad: grid pixel (p, q) is the image's (p * mul_h + off_h, q * mul_w + off_w)
  int rows = 0, columns = 0, h = 0, w = 0, mul_h = 0, mul_w = 0, off_h = 0, off_w = 0;
  // wgrad: rows come in runs of `padded`, of which the first `channels` exist
  int channels = 0, padded = 0;
  /// Whether rows follow each other in memory: no pixel is left out between them (dgrad), and none is padding (wgrad).
  bool contiguous = true;
  /// Whether four elements of C, from a column that is a multiple of 4 of its group on, may be written as one access.
  bool wide = false;
  /// dgrad: how a grid pixel moves from one of a thread's rows to its next.
  GridStep step{};
};

template <class T>
struct GemmArguments {
  Gather<T> a;
  Operand<T> b;
  Output<T> c;
  int m = 0, n = 0, k = 0;      ///< of one group
  int groups = 0, k_slice = 0;  ///< k_slice: how much of k one split takes, a multiple of the tile's depth
  int a_group = 0, b_group = 0, n_group = 0;  ///< elements from group to group in A, B and C (and bias)
  float* partial = nullptr;                   ///< [splits][groups][m][n] with more than one split, else null
  GridStep a_step{};  ///< wgrad: how A's grid pixel moves from one of a thread's copies to the next
};

template <int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kStages_>
struct Tile {
  static constexpr int kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarp;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;
};

template <class T>
inline constexpr int kDepth = 64 / static_cast<int>(sizeof(T));  ///< of a slice: 64 bytes of each row

/// A tile in shared memory, laid out so that neither copies of 16 bytes along its rows nor reads down its columns meet
/// in a bank. Rows of 64 bytes lie without gaps, two to all banks, and every other row swaps its packs in another way;
/// wider rows are padded by one pack.
template <class T, int kRows, int kColumns>
struct SharedTile {
  static constexpr int kPacks = kColumns / kPack<T>;
  static constexpr bool kSwapped = kPacks == 4;
  static constexpr int kPitch = kSwapped ? kColumns : kColumns + kPack<T>;
  T data[kRows * kPitch];
  /// Unsigned, so that the compiler sees the bits that no offset changes.
  __device__ __forceinline__ T* at(unsigned row, unsigned column) {
    if constexpr (kSwapped) {
      const unsigned pack = column / kPack<T> ^ row / 2 % kPacks;
      return data + row * kPitch + pack * kPack<T> + column % kPack<T>;
    }
    return data + row * kPitch + column;
  }
};

template <class T, Pass kPass, class Shape>
struct Stage {
  static constexpr bool kAlongM = kPass == Pass::wgrad || kPass == Pass::both_transposed;  ///< A: m contiguous
  static constexpr bool kAlongN = kPass == Pass::fprop || kPass == Pass::wgrad;            ///< B: n contiguous
  alignas(16) SharedTile<T, kAlongM ? kDepth<T> : Shape::kM, kAlongM ? Shape::kM : kDepth<T>> a;
  alignas(16) SharedTile<T, kAlongN ? kDepth<T> : Shape::kN, kAlongN ? Shape::kN : kDepth<T>> b;
};

/// Where along k = (i, j, channel) a thread's copies stand.
struct TapCursor {
  int i, j, channel;
  __device__ TapCursor(int k, int taps_w, int channels)
      : i(k / channels / taps_w), j(k / channels % taps_w), channel(k % channels) {}
  __device__ void advance(int by, int taps_w, int channels) {
    channel += by;
    while (channel >= channels) {
      channel -= channels;
      if (++j == taps_w) j = 0, ++i;
    }
  }
};

/// Copies slices of an A whose k is contiguous: a thread takes one place along k of several rows.
template <class T, class Shape>
class GatherAlongK {
  static constexpr int kPerRow = kDepth<T> / kPack<T>, kRows = Shape::kThreads / kPerRow, kSteps = Shape::kM / kRows;
  static_assert(Shape::kM % kRows == 0);

 public:
  __device__ GatherAlongK(const GemmArguments<T>& g, int m0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        cursor_(k0 + column_, g.a.taps_w, g.a.channels) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int m = m0 + row_ + step * kRows;
      const int q = m % g.a.columns, p = m / g.a.columns % g.a.rows, image = m / g.a.columns / g.a.rows;
      y_[step] = m < g.m ? p * g.a.mul_h + g.a.off_h : kNowhere;
      x_[step] = q * g.a.mul_w + g.a.off_w;
      base_[step] = g.a.image + std::int64_t{image} * g.a.h * g.a.w * g.a.pitch + group * g.a_group;
    }
  }
  template <class Tile>
  __device__ void copy(const GemmArguments<T>& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int y = y_[step] + cursor_.i * g.a.step_h, x = x_[step] + cursor_.j * g.a.step_w;
      const bool inside = column_ < k_left && y >= 0 && y < g.a.h && x >= 0 && x < g.a.w;
      const T* source = base_[step] + (std::int64_t{y} * g.a.w + x) * g.a.pitch + cursor_.channel;
      dev::copy_async<16>(tile.at(row_ + step * kRows, column_), inside ? source : g.a.image, inside ? 16 : 0);
    }
    cursor_.advance(kDepth<T>, g.a.taps_w, g.a.channels);
  }

 private:
  static constexpr int kNowhere = -(1 << 29);
  int column_, row_;
  TapCursor cursor_;
  int y_[kSteps], x_[kSteps];
  const T* base_[kSteps];
};

/// Copies slices of an A whose m is contiguous: a thread takes one place along m, a tap's channels, of several pixels.
template <class T, class Shape>
class GatherAlongM {
  static constexpr int kPerRow = Shape::kM / kPack<T>, kRows = Shape::kThreads / kPerRow, kSteps = kDepth<T> / kRows;
  static_assert(kDepth<T> % kRows == 0);

 public:
  __device__ GatherAlongM(const GemmArguments<T>& g, int m0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        pixel_(k0 + row_, g.a.rows, g.a.columns),
        offset_(group * g.a_group) {
    const TapCursor tap(m0 + column_, g.a.taps_w, g.a.channels);
    exists_ = m0 + column_ < g.m;
    y_ = g.a.off_h + tap.i * g.a.step_h;
    x_ = g.a.off_w + tap.j * g.a.step_w;
    offset_ += tap.channel;
  }
  /// For GemmArguments::a_step: a thread's copies are kRows pixels apart, also from slice to slice.
  static GridStep step(const Gather<T>& a) { return grid_step(kRows, a.rows, a.columns); }

  template <class Tile>
  __device__ void copy(const GemmArguments<T>& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int row = row_ + step * kRows;
      const int y = y_ + pixel_.row * g.a.mul_h, x = x_ + pixel_.column * g.a.mul_w;
      const bool inside = exists_ && row < k_left && y >= 0 && y < g.a.h && x >= 0 && x < g.a.w;
      const T* const data = g.a.image;
      const T* source = data + ((std::int64_t{pixel_.image} * g.a.h + y) * g.a.w + x) * g.a.pitch + offset_;
      dev::copy_async<16>(tile.at(row, column_), inside ? source : data, inside ? 16 : 0);
      pixel_.advance(g.a_step, g.a.rows, g.a.columns);
    }
  }

 private:
  int column_, row_;
  GridPixel pixel_;
  int y_, x_, offset_;
  bool exists_;
};

/// Copies slices of a B whose n is contiguous.
template <class T, class Shape>
class RowsAlongN {
  static constexpr int kPerRow = Shape::kN / kPack<T>, kRows = Shape::kThreads / kPerRow, kSteps = kDepth<T> / kRows;
  static_assert(kDepth<T> % kRows == 0);

 public:
  __device__ RowsAlongN(const GemmArguments<T>& g, int n0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        exists_(n0 + column_ < g.n),
        source_(g.b.data + std::int64_t{k0 + row_} * g.b.pitch + group * g.b_group + n0 + column_) {}
  template <class Tile>
  __device__ void copy(const GemmArguments<T>& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int row = row_ + step * kRows;
      const bool inside = exists_ && row < k_left;
      dev::copy_async<16>(tile.at(row, column_), inside ? source_ + std::int64_t{step} * kRows * g.b.pitch : g.b.data,
                          inside ? 16 : 0);
    }
    source_ += std::int64_t{kDepth<T>} * g.b.pitch;
  }

 private:
  int column_, row_;
  bool exists_;
  const T* source_;
};

/// Copies slices of a B whose k is contiguous: rows of a filter's taps.
template <class T, class Shape>
class FilterAlongK {
  static constexpr int kPerRow = kDepth<T> / kPack<T>, kRows = Shape::kThreads / kPerRow, kSteps = Shape::kN / kRows;
  static_assert(Shape::kN % kRows == 0);

 public:
  __device__ FilterAlongK(const GemmArguments<T>& g, int n0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(n0 + static_cast<int>(threadIdx.x) / kPerRow),
        offset_(group * g.b_group),
        cursor_(k0 + column_, g.b.taps_w, g.b.channels) {}
  template <class Tile>
  __device__ void copy(const GemmArguments<T>& g, Tile& tile, int k_left) {
    const Operand<T>& b = g.b;
    const int tap = (b.first_r + cursor_.i * b.step_r) * b.filter_s + b.first_s + cursor_.j * b.step_s;
    const T* const data = b.data;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int n = row_ + step * kRows;
      const bool inside = column_ < k_left && n < g.n;
      const T* source = data + (std::int64_t{tap} * b.rows + n) * b.pitch + offset_ + cursor_.channel;
      dev::copy_async<16>(tile.at(static_cast<int>(threadIdx.x) / kPerRow + step * kRows, column_),
                          inside ? source : data, inside ? 16 : 0);
    }
    cursor_.advance(kDepth<T>, b.taps_w, b.channels);
  }

 private:
  int column_, row_, offset_;
  TapCursor cursor_;
};

}  // namespace retort::RETORT_BACKEND
