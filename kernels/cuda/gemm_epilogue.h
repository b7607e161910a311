// The end of a product: from the sums in the threads' registers to C in memory, with scale, bias, residual and ReLU.
//
// A thread's sums lie scattered over its tile, two by two. They pass through shared memory (StagedTile), from where
// each thread takes four neighbours of a row at a time, so that a warp reads and writes whole sectors and an address is
// made once for four elements.
#pragma once

#include <type_traits>

#include "kernels/cuda/gemm_slices.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kChunk = 4;  ///< elements of a row that a thread finishes at once

/// A tile of C in shared memory, f32. Rows are padded by 8: then neither the pairs of the fragments' layout nor rows of
/// chunks meet in a bank.
template <class Shape>
class StagedTile {
  static constexpr int kPitch = Shape::kN + 8;

 public:
  static constexpr std::size_t kBytes = sizeof(float) * Shape::kM * kPitch;
  __device__ explicit StagedTile(void* memory) : data_(static_cast<float*>(memory)) {}
  __device__ __forceinline__ void put(int m, int n, float first, float second) {
    dev::store_shared(data_ + m * kPitch + n, Pack<float, 2>{{first, second}});
  }
  __device__ __forceinline__ void get(int m, int n, float (&values)[kChunk]) const {
    load_elements(data_ + m * kPitch + n, values);
  }

 private:
  float* data_;
};

/// Where row m of C begins, or -1 if it does not exist.
template <Pass kPass, class T>
__device__ __forceinline__ std::int64_t row_offset(const Output<T>& c, int m) {
  if (kPass == Pass::dgrad && !c.contiguous) {
    const GridPixel pixel(m, c.rows, c.columns);
    return pixel.offset(c);
  }
  if (kPass == Pass::wgrad && !c.contiguous) {
    const int run = m / c.padded, channel = m % c.padded;
    return channel < c.channels ? (std::int64_t{run} * c.channels + channel) * c.pitch : -1;
  }
  return std::int64_t{m} * c.pitch;
}

/// row_offset of rows m, m + kStep, m + 2 kStep, ...; c.step is that of kStep.
template <Pass kPass, int kStep, class T>
class RowWalk {
 public:
  __device__ RowWalk(const Output<T>& c, int m) : m_(m), pixel_(0, 1, 1), offset_(std::int64_t{m} * c.pitch) {
    if (kPass == Pass::dgrad && !c.contiguous) {
      pixel_ = GridPixel(m, c.rows, c.columns);
      offset_ = pixel_.offset(c);
    } else if (kPass == Pass::wgrad && !c.contiguous) {
      offset_ = row_offset<kPass>(c, m);
    }
  }
  __device__ __forceinline__ std::int64_t offset() const { return offset_; }
  __device__ __forceinline__ void advance(const Output<T>& c) {
    if (kPass == Pass::dgrad && !c.contiguous) {
      pixel_.advance(c.step, c.rows, c.columns);
      offset_ = pixel_.offset(c);
    } else if (kPass == Pass::wgrad && !c.contiguous) {
      m_ += kStep;
      offset_ = row_offset<kPass>(c, m_);
    } else {
      offset_ += std::int64_t{kStep} * c.pitch;
    }
  }

 private:
  int m_;
  GridPixel pixel_;
  std::int64_t offset_;
};

/// Finishes chunks of one group of columns: scale and bias are read once.
template <class T>
class ChunkFinish {
 public:
  /// Columns n, n + 1, ... of the group; n < g.n.
  __device__ ChunkFinish(const GemmArguments<T>& g, int group, int n)
      : column_(group * g.n_group + n), count_(g.n - n < kChunk ? g.n - n : kChunk) {
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      scale_[j] = g.c.scale && j < count_ ? g.c.scale[column_ + j] : 1;
      bias_[j] = g.c.bias && j < count_ ? g.c.bias[column_ + j] : 0;
    }
  }

  /// Whether all of the chunk exists and may be written as one.
  __device__ bool whole(const Output<T>& c) const { return c.wide && count_ == kChunk; }

  /// Writes the chunk's values of the row at `offset`; kWhole: whole().
  template <bool kWhole>
  __device__ __forceinline__ void write(const Output<T>& c, std::int64_t offset, float (&values)[kChunk]) const {
    const std::int64_t at = offset + column_;
    if (c.scale)
      for (int j = 0; j < kChunk; ++j) values[j] *= scale_[j];
    if (c.bias)
      for (int j = 0; j < kChunk; ++j) values[j] += bias_[j];
    if (c.residual) {
      if constexpr (kWhole) {
        float residual[kChunk];
        widen<T>(dev::load<Packed<T, kChunk>>(c.residual + at), residual);
        for (int j = 0; j < kChunk; ++j) values[j] += residual[j];
      } else {
        for (int j = 0; j < kChunk; ++j)
          if (j < count_) values[j] += float(c.residual[at + j]);
      }
    }
    if constexpr (sizeof(T) != sizeof(float)) {
      if (c.data_f32) return put<kWhole>(c.data_f32 + at, values, c.relu);
    }
    put<kWhole>(c.data + at, values, c.relu);
  }

 private:
  template <bool kWhole, class Element>
  __device__ __forceinline__ void put(Element* target, const float (&values)[kChunk], bool relu) const {
    if constexpr (kWhole) {
      dev::store(target, narrow<Element>(values, relu));
    } else {
      for (int j = 0; j < kChunk; ++j)
        if (j < count_) target[j] = Element(relu ? dev::max_nan(values[j], 0) : values[j]);
    }
  }

  int column_, count_;
  float scale_[kChunk], bias_[kChunk];
};

/// How the threads of a block share a staged tile: chunks of a row side by side, rows below each other.
template <class Shape>
struct ChunkPlaces {
  static constexpr int kAcross = Shape::kN / kChunk, kDown = Shape::kThreads / kAcross;
  static_assert(Shape::kThreads % kAcross == 0 && Shape::kM % kDown == 0);
};

/// f(m, values) for the thread's chunks of a staged tile, as far as C has rows; m within the tile.
template <class Shape, class F>
__device__ __forceinline__ void each_chunk(const StagedTile<Shape>& tile, int rows, int row, int column, const F& f) {
#pragma unroll 4
  for (int m = row; m < Shape::kM; m += ChunkPlaces<Shape>::kDown) {
    if (m >= rows) return;
    float values[kChunk];
    tile.get(m, column, values);
    f(m, values);
  }
}

/// Writes a staged tile of C, or of its share in a product that is cut along k. Paths are apart for whole chunks and
/// those at the edge: nvcc takes the wide accesses of one apart for the other's sake.
template <Pass kPass, class T, class Shape>
__device__ __forceinline__ void write_tile(const GemmArguments<T>& g, const StagedTile<Shape>& tile, int group, int m0,
                                           int n0) {
  constexpr int kDown = ChunkPlaces<Shape>::kDown;
  const int row = static_cast<int>(threadIdx.x) / ChunkPlaces<Shape>::kAcross;
  const int column = static_cast<int>(threadIdx.x) % ChunkPlaces<Shape>::kAcross * kChunk, n = n0 + column;
  if (n >= g.n) return;
  const int rows = g.m - m0;
  if (g.partial) {
    float* target = g.partial + ((std::int64_t{blockIdx.z} * g.groups + group) * g.m + m0 + row) * g.n + n;
    const std::int64_t step = std::int64_t{kDown} * g.n;
    if (g.n % kChunk == 0)
      each_chunk(tile, rows, row, column, [&](int, const float(&values)[kChunk]) {
        dev::store(target, narrow<float>(values));
        target += step;
      });
    else
      each_chunk(tile, rows, row, column, [&](int, const float(&values)[kChunk]) {
        for (int j = 0; j < kChunk; ++j)
          if (n + j < g.n) target[j] = values[j];
        target += step;
      });
    return;
  }
  const ChunkFinish<T> finish(g, group, n);
  RowWalk<kPass, kDown, T> walk(g.c, m0 + row);
  const auto write = [&](auto whole) {
    each_chunk(tile, rows, row, column, [&](int, float(&values)[kChunk]) {
      if (kPass != Pass::wgrad || walk.offset() >= 0)
        finish.template write<decltype(whole)::value>(g.c, walk.offset(), values);
      walk.advance(g.c);
    });
  };
  if (finish.whole(g.c))
    write(std::true_type{});
  else
    write(std::false_type{});
}

/// Adds the splits in order and writes C.
template <class T, Pass kPass>
__global__ void add_splits(GemmArguments<T> g, int splits) {
  const std::int64_t all = std::int64_t{g.groups} * g.m * g.n;
  const unsigned per_row = static_cast<unsigned>(g.n + kChunk - 1) / kChunk;
  const unsigned chunks = static_cast<unsigned>(g.groups * g.m) * per_row, stride = gridDim.x * blockDim.x;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < chunks; i += stride) {
    const int row = static_cast<int>(i / per_row), n = static_cast<int>(i % per_row) * kChunk;
    const float* partial = g.partial + std::int64_t{row} * g.n + n;
    float sum[kChunk] = {};
    if (g.n % kChunk == 0) {
#pragma unroll 4
      for (int split = 0; split < splits; ++split, partial += all) {
        const auto values = dev::load<Pack<float, kChunk>>(partial);
        for (int j = 0; j < kChunk; ++j) sum[j] += values.v[j];
      }
    } else {
      for (int split = 0; split < splits; ++split, partial += all)
        for (int j = 0; j < kChunk; ++j)
          if (n + j < g.n) sum[j] += partial[j];
    }
    const int group = row / g.m;
    const std::int64_t offset = row_offset<kPass>(g.c, row - group * g.m);
    if (offset < 0) continue;
    const ChunkFinish<T> finish(g, group, n);
    if (finish.whole(g.c))
      finish.template write<true>(g.c, offset, sum);
    else
      finish.template write<false>(g.c, offset, sum);
  }
}

}  // namespace retort::RETORT_BACKEND
