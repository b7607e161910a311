// The product behind convolutions and linear layers: C [m, n] = A [m, k] B [k, n], where A may be gathered from an
// image as it is read, so that no matrix of patches ever exists.
//
// A block makes one tile of C. It walks along k in slices; each slice of A and B is copied to shared memory
// asynchronously, kStages - 1 slices ahead, 16 bytes a copy, zeros where the image ends. Products run on the tensor
// cores (bf16, or tf32 for f32), or in exact f32 on the ordinary ones.
//
//   pass     rows m             columns n   along k             A lies          B lies
//   fprop    output pixels      k           (r, s, c)           k contiguous    n contiguous (filter RSCK)
//   dgrad    input pixels of    c           (r, s, k) of the    k contiguous    k contiguous
//            one residue class              taps that reach it
//   wgrad    (r, s, c)          k           output pixels       m contiguous    n contiguous
//   both     as wgrad, B as in dgrad: both operands transposed (plain products only)
#pragma once

#include <type_traits>

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

enum class Pass : std::uint8_t { fprop, dgrad, wgrad, both };
enum class Math : std::uint8_t { exact, tf32, bf16 };

/// Pixels of a grid, each with a window of taps into an NHWC image: tap (i, j) of grid pixel (p, q) is the image's
/// pixel (p * mul_h + off_h + i * step_h, q * mul_w + off_w + j * step_w), zero outside.
struct Gather {
  const void* image = nullptr;
  int images = 0, h = 0, w = 0, pitch = 0;  ///< pitch: elements from pixel to pixel
  int rows = 0, columns = 0;                ///< of the grid, per image
  int mul_h = 0, mul_w = 0, off_h = 0, off_w = 0, step_h = 0, step_w = 0;
  int taps_h = 0, taps_w = 0, channels = 0;  ///< channels of one group
};

/// B. n contiguous: element (k, n) at k * pitch + n. k contiguous: k = (i, j, kk) of a filter's taps, element at
/// (((first_r + i * step_r) * filter_s + first_s + j * step_s) * rows + n) * pitch + kk.
struct Operand {
  const void* data = nullptr;
  int pitch = 0;
  int rows = 0, filter_s = 0, first_r = 0, first_s = 0, step_r = 0, step_s = 0;
  int taps_w = 0, channels = 0;  ///< along k, when that is contiguous
};

/// C: where an element goes and what is done to it on the way.
struct Output {
  void* data = nullptr;
  const float* bias = nullptr;     ///< [n] of all groups, or null
  bool relu = false, f32 = false;  ///< f32: data holds floats, else the operands' type
  int pitch = 0;
  // dgrad: grid pixel (p, q) is the image's (p * mul_h + off_h, q * mul_w + off_w)
  int rows = 0, columns = 0, h = 0, w = 0, mul_h = 0, mul_w = 0, off_h = 0, off_w = 0;
  // wgrad: rows come in runs of `padded`, of which the first `channels` exist
  int channels = 0, padded = 0;
};

struct GemmArguments {
  Gather a;
  Operand b;
  Output c;
  int m = 0, n = 0, k = 0;      ///< of one group
  int groups = 0, k_slice = 0;  ///< k_slice: how much of k one split takes, a multiple of the tile's depth
  int a_group = 0, b_group = 0, n_group = 0;  ///< elements from group to group in A, B and C (and bias)
  float* partial = nullptr;                   ///< [splits][groups][m][n] with more than one split, else null
};

template <int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kStages_>
struct Tile {
  static constexpr int kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarp;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;
};

template <class T>
inline constexpr int kDepth = 64 / static_cast<int>(sizeof(T));  ///< of a slice: 64 bytes of each row

/// A tile in shared memory, rows padded by 16 bytes so that columns of it fall into different banks.
template <class T, int kRows, int kColumns>
struct SharedTile {
  static constexpr int kPitch = kColumns + kPack<T>;
  T data[kRows * kPitch];
  __device__ T* at(int row, int column) { return data + row * kPitch + column; }
};

template <class T, Pass kPass, class Shape>
struct Stage {
  static constexpr bool kAlongM = kPass == Pass::wgrad || kPass == Pass::both;   ///< A: m contiguous
  static constexpr bool kAlongN = kPass == Pass::fprop || kPass == Pass::wgrad;  ///< B: n contiguous
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
  __device__ GatherAlongK(const GemmArguments& g, int m0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        cursor_(k0 + column_, g.a.taps_w, g.a.channels) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int m = m0 + row_ + step * kRows;
      const int q = m % g.a.columns, p = m / g.a.columns % g.a.rows, image = m / g.a.columns / g.a.rows;
      y_[step] = m < g.m ? p * g.a.mul_h + g.a.off_h : kNowhere;
      x_[step] = q * g.a.mul_w + g.a.off_w;
      base_[step] =
          static_cast<const T*>(g.a.image) + std::int64_t{image} * g.a.h * g.a.w * g.a.pitch + group * g.a_group;
    }
  }
  template <class Tile>
  __device__ void copy(const GemmArguments& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int y = y_[step] + cursor_.i * g.a.step_h, x = x_[step] + cursor_.j * g.a.step_w;
      const bool inside = column_ < k_left && y >= 0 && y < g.a.h && x >= 0 && x < g.a.w;
      const T* source = base_[step] + (std::int64_t{y} * g.a.w + x) * g.a.pitch + cursor_.channel;
      dev::copy_async<16>(tile.at(row_ + step * kRows, column_), inside ? source : static_cast<const T*>(g.a.image),
                          inside ? 16 : 0);
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
  __device__ GatherAlongM(const GemmArguments& g, int m0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        k_(k0),
        offset_(group * g.a_group) {
    const TapCursor tap(m0 + column_, g.a.taps_w, g.a.channels);
    exists_ = m0 + column_ < g.m;
    y_ = g.a.off_h + tap.i * g.a.step_h;
    x_ = g.a.off_w + tap.j * g.a.step_w;
    offset_ += tap.channel;
  }
  template <class Tile>
  __device__ void copy(const GemmArguments& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int row = row_ + step * kRows, k = k_ + row;
      const int q = k % g.a.columns, p = k / g.a.columns % g.a.rows, image = k / g.a.columns / g.a.rows;
      const int y = y_ + p * g.a.mul_h, x = x_ + q * g.a.mul_w;
      const bool inside = exists_ && row < k_left && y >= 0 && y < g.a.h && x >= 0 && x < g.a.w;
      const T* const data = static_cast<const T*>(g.a.image);
      const T* source = data + ((std::int64_t{image} * g.a.h + y) * g.a.w + x) * g.a.pitch + offset_;
      dev::copy_async<16>(tile.at(row, column_), inside ? source : data, inside ? 16 : 0);
    }
    k_ += kDepth<T>;
  }

 private:
  int column_, row_, k_, y_, x_, offset_;
  bool exists_;
};

/// Copies slices of a B whose n is contiguous.
template <class T, class Shape>
class RowsAlongN {
  static constexpr int kPerRow = Shape::kN / kPack<T>, kRows = Shape::kThreads / kPerRow, kSteps = kDepth<T> / kRows;
  static_assert(kDepth<T> % kRows == 0);

 public:
  __device__ RowsAlongN(const GemmArguments& g, int n0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(static_cast<int>(threadIdx.x) / kPerRow),
        exists_(n0 + column_ < g.n),
        source_(static_cast<const T*>(g.b.data) + std::int64_t{k0 + row_} * g.b.pitch + group * g.b_group + n0 +
                column_) {}
  template <class Tile>
  __device__ void copy(const GemmArguments& g, Tile& tile, int k_left) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int row = row_ + step * kRows;
      const bool inside = exists_ && row < k_left;
      dev::copy_async<16>(tile.at(row, column_),
                          inside ? source_ + std::int64_t{step} * kRows * g.b.pitch : static_cast<const T*>(g.b.data),
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
  __device__ FilterAlongK(const GemmArguments& g, int n0, int k0, int group)
      : column_(static_cast<int>(threadIdx.x) % kPerRow * kPack<T>),
        row_(n0 + static_cast<int>(threadIdx.x) / kPerRow),
        offset_(group * g.b_group),
        cursor_(k0 + column_, g.b.taps_w, g.b.channels) {}
  template <class Tile>
  __device__ void copy(const GemmArguments& g, Tile& tile, int k_left) {
    const Operand& b = g.b;
    const int tap = (b.first_r + cursor_.i * b.step_r) * b.filter_s + b.first_s + cursor_.j * b.step_s;
    const T* const data = static_cast<const T*>(b.data);
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

/// The part of a tile of C that one warp holds on the tensor cores, in m16n8 fragments.
template <class T, class Shape>
struct TensorAccumulator {
  static constexpr int kFragmentsM = Shape::kWarpM / 16, kFragmentsN = Shape::kWarpN / 8;
  float values[kFragmentsM][kFragmentsN][4];

  __device__ void clear() {
    for (auto& row : values)
      for (auto& fragment : row)
        for (float& value : fragment) value = 0;
  }

  template <class S>
  __device__ __forceinline__ void multiply(S& stage) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int m0 = warp / Shape::kWarpsN * Shape::kWarpM, n0 = warp % Shape::kWarpsN * Shape::kWarpN;
    if constexpr (sizeof(T) == 2)
      multiply_bf16(stage, m0, n0);
    else
      multiply_tf32(stage, m0, n0);
  }

  /// Calls put(m, n, two values side by side) for all elements of the thread.
  template <class F>
  __device__ __forceinline__ void each(const F& put) const {
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    const int m0 = warp / Shape::kWarpsN * Shape::kWarpM + lane / 4;
    const int n0 = warp % Shape::kWarpsN * Shape::kWarpN + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          put(m0 + i * 16 + half * 8, n0 + j * 8, values[i][j][half * 2], values[i][j][half * 2 + 1]);
  }

 private:
  template <class S>
  __device__ __forceinline__ void multiply_bf16(S& stage, int m0, int n0) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, within = lane % 8, matrix = lane / 8;
#pragma unroll
    for (int k = 0; k < kDepth<T>; k += 16) {
      std::uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i) {
        const int m = m0 + i * 16 + matrix % 2 * 8, kk = k + matrix / 2 * 8;
        if constexpr (S::kAlongM)
          dev::ldmatrix_x4_trans(a[i], stage.a.at(kk + within, m));
        else
          dev::ldmatrix_x4(a[i], stage.a.at(m + within, kk));
      }
#pragma unroll
      for (int j = 0; j < kFragmentsN; j += 2) {
        const int n = n0 + j * 8 + matrix / 2 * 8, kk = k + matrix % 2 * 8;
        std::uint32_t four[4];
        if constexpr (S::kAlongN)
          dev::ldmatrix_x4_trans(four, stage.b.at(kk + within, n));
        else
          dev::ldmatrix_x4(four, stage.b.at(n + within, kk));
        b[j][0] = four[0];
        b[j][1] = four[1];
        b[j + 1][0] = four[2];
        b[j + 1][1] = four[3];
      }
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) dev::mma_bf16(values[i][j], a[i], b[j]);
    }
  }

  template <class S>
  __device__ __forceinline__ void multiply_tf32(S& stage, int m0, int n0) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, t = lane % 4;
    const auto left = [&](int m, int k) { return dev::to_tf32(S::kAlongM ? *stage.a.at(k, m) : *stage.a.at(m, k)); };
    const auto right = [&](int k, int n) { return dev::to_tf32(S::kAlongN ? *stage.b.at(k, n) : *stage.b.at(n, k)); };
#pragma unroll
    for (int k = 0; k < kDepth<T>; k += 8) {
      std::uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) a[i][r] = left(m0 + i * 16 + group + r % 2 * 8, k + t + r / 2 * 4);
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) b[j][r] = right(k + t + r * 4, n0 + j * 8 + group);
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) dev::mma_tf32(values[i][j], a[i], b[j]);
    }
  }
};

/// The part of a tile of C that one thread holds, multiplied in f32: rows ty + 16 i, columns 4 tx + 64 (j / 4) + j % 4
/// of a 16 x 16 arrangement of threads.
template <class Shape>
struct ExactAccumulator {
  static constexpr int kRows = Shape::kM / 16, kColumns = Shape::kN / 16;
  static_assert(Shape::kThreads == 256 && kColumns % 4 == 0);
  float values[kRows][kColumns];

  __device__ void clear() {
    for (auto& row : values)
      for (float& value : row) value = 0;
  }

  template <class S>
  __device__ __forceinline__ void multiply(S& stage) {
    using Four = Pack<float, 4>;
    const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
    for (int k = 0; k < kDepth<float>; k += 4) {
      Four a[kRows], b[kColumns];  // four along k each
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if constexpr (S::kAlongM)
          for (int kk = 0; kk < 4; ++kk) a[i].v[kk] = *stage.a.at(k + kk, ty + 16 * i);
        else
          a[i] = dev::load<Four>(stage.a.at(ty + 16 * i, k));
      }
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        const int n = tx * 4 + j / 4 * 64;
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          if constexpr (S::kAlongN) {
            const Four row = dev::load<Four>(stage.b.at(k + x, n));
            for (int y = 0; y < 4; ++y) b[j + y].v[x] = row.v[y];
          } else {
            b[j + x] = dev::load<Four>(stage.b.at(n + x, k));
          }
        }
      }
#pragma unroll
      for (int kk = 0; kk < 4; ++kk)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kColumns; ++j) values[i][j] += a[i].v[kk] * b[j].v[kk];
    }
  }

  template <class F>
  __device__ __forceinline__ void each(const F& put) const {
    const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; j += 2)
        put(ty + 16 * i, tx * 4 + j / 4 * 64 + j % 4, values[i][j], values[i][j + 1]);
  }
};

/// Where row m of C begins, or -1 if it does not exist.
template <Pass kPass>
__device__ __forceinline__ std::int64_t row_offset(const Output& c, int m) {
  if constexpr (kPass == Pass::dgrad) {
    const int q = m % c.columns, p = m / c.columns % c.rows, image = m / c.columns / c.rows;
    return ((std::int64_t{image} * c.h + p * c.mul_h + c.off_h) * c.w + q * c.mul_w + c.off_w) * c.pitch;
  } else if constexpr (kPass == Pass::wgrad) {
    const int run = m / c.padded, channel = m % c.padded;
    return channel < c.channels ? (std::int64_t{run} * c.channels + channel) * c.pitch : -1;
  } else {
    return std::int64_t{m} * c.pitch;
  }
}

/// Writes columns n and n + 1 of row m, as far as they exist.
template <class T, Pass kPass>
__device__ __forceinline__ void put(const GemmArguments& g, int group, int m, int n, float first, float second) {
  const Output& c = g.c;
  const std::int64_t row = row_offset<kPass>(c, m);
  if (row < 0 || n >= g.n) return;
  const int column = group * g.n_group + n;
  const bool both = n + 1 < g.n;
  if (c.bias) {
    first += c.bias[column];
    if (both) second += c.bias[column + 1];
  }
  if (c.relu) {
    first = first < 0 ? 0 : first;
    second = second < 0 ? 0 : second;
  }
  const bool paired = both && c.pitch % 2 == 0 && column % 2 == 0;
  const auto write = [&](auto* data) {
    using Element = std::remove_reference_t<decltype(*data)>;
    Element* const target = data + row + column;
    if (paired) {
      dev::store(target, Pack<Element, 2>{{Element(first), Element(second)}});
    } else {
      *target = Element(first);
      if (both) target[1] = Element(second);
    }
  };
  if (c.f32)
    write(static_cast<float*>(c.data));
  else
    write(static_cast<T*>(c.data));
}

/// Grid: x tiles of C (n fastest), y groups, z splits of k.
template <class T, Math kMath, Pass kPass, class Shape>
__global__ void __launch_bounds__(Shape::kThreads) implicit_gemm(GemmArguments g) {
  using S = Stage<T, kPass, Shape>;
  S* const stages = static_cast<S*>(dev::dynamic_shared());
  const int tiles_n = (g.n + Shape::kN - 1) / Shape::kN;
  const int m0 = static_cast<int>(blockIdx.x) / tiles_n * Shape::kM,
            n0 = static_cast<int>(blockIdx.x) % tiles_n * Shape::kN;
  const int group = static_cast<int>(blockIdx.y), k0 = static_cast<int>(blockIdx.z) * g.k_slice;
  const int k_end = k0 + g.k_slice < g.k ? k0 + g.k_slice : g.k;
  const int slices = (k_end - k0 + kDepth<T> - 1) / kDepth<T>;

  std::conditional_t<S::kAlongM, GatherAlongM<T, Shape>, GatherAlongK<T, Shape>> a(g, m0, k0, group);
  std::conditional_t<S::kAlongN, RowsAlongN<T, Shape>, FilterAlongK<T, Shape>> b(g, n0, k0, group);
  const auto fetch = [&](int slice) {
    if (slice < slices) {
      S& stage = stages[slice % Shape::kStages];
      a.copy(g, stage.a, k_end - k0 - slice * kDepth<T>);
      b.copy(g, stage.b, k_end - k0 - slice * kDepth<T>);
    }
    dev::copy_commit();  // an empty group counts too: the waits below stay the same at the end
  };
  std::conditional_t<kMath == Math::exact, ExactAccumulator<Shape>, TensorAccumulator<T, Shape>> sums;
  sums.clear();
  for (int slice = 0; slice < Shape::kStages - 1; ++slice) fetch(slice);
  for (int slice = 0; slice < slices; ++slice) {
    dev::copy_wait<Shape::kStages - 2>();
    dev::syncthreads();  // this slice has landed, and everyone is done with the one before, which is refilled now
    fetch(slice + Shape::kStages - 1);
    sums.multiply(stages[slice % Shape::kStages]);
  }
  dev::copy_wait<0>();

  sums.each([&](int m, int n, float first, float second) {
    m += m0;
    n += n0;
    if (m >= g.m) return;
    if (!g.partial) {
      put<T, kPass>(g, group, m, n, first, second);
      return;
    }
    float* const row = g.partial + ((std::int64_t{blockIdx.z} * g.groups + group) * g.m + m) * g.n;
    if (n < g.n) row[n] = first;
    if (n + 1 < g.n) row[n + 1] = second;
  });
}

/// Adds the splits in order and writes C.
template <class T, Pass kPass>
__global__ void add_splits(GemmArguments g, int splits) {
  const std::int64_t all = std::int64_t{g.groups} * g.m * g.n, pairs = std::int64_t{g.groups} * g.m * ((g.n + 1) / 2);
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pairs; i += stride) {
    const int n = static_cast<int>(i % ((g.n + 1) / 2)) * 2;
    const std::int64_t row = i / ((g.n + 1) / 2);
    float first = 0, second = 0;
    for (int split = 0; split < splits; ++split) {
      const float* const partial = g.partial + split * all + row * g.n + n;
      first += partial[0];
      if (n + 1 < g.n) second += partial[1];
    }
    put<T, kPass>(g, static_cast<int>(row / g.m), static_cast<int>(row % g.m), n, first, second);
  }
}

}  // namespace retort::RETORT_BACKEND
