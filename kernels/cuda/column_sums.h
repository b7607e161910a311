// Sums over the rows of [rows, channels], two or three values at once: bias gradients, batch statistics and their
// gradients, correlations over the batch.
//
// Stage one: the rows are cut into chunks; a block adds those of one chunk for a few channels, each thread in float, 16
// bytes of channels at a time. Stage two: ColumnFinish adds the chunks' partial sums in double. Both in a fixed order,
// so the result never depends on the schedule.
#pragma once

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

struct ColumnPair {
  float first, second;
  __device__ void operator+=(const ColumnPair& other) {
    first += other.first;
    second += other.second;
  }
};
struct ColumnTriple {
  float first, second, third;
  __device__ void operator+=(const ColumnTriple& other) {
    first += other.first;
    second += other.second;
    third += other.third;
  }
};

/// Where an element lies, the first of those that one access takes.
struct ColumnPlace {
  std::int64_t row, channel, channels;
  __device__ std::int64_t at() const { return row * channels + channel; }
};

inline constexpr int kColumnLanes = 8, kRowLanes = 32;  ///< of a block of stage one
inline constexpr std::int64_t kMinChunkRows = 64, kMaxChunks = 512;

inline std::int64_t chunk_rows(std::int64_t rows) {
  const std::int64_t wanted = (rows + kMaxChunks - 1) / kMaxChunks;
  return wanted > kMinChunkRows ? wanted : kMinChunkRows;
}
inline int column_chunks(std::int64_t rows) {
  return static_cast<int>((rows + chunk_rows(rows) - 1) / chunk_rows(rows));
}
template <class Sums = ColumnPair>
std::size_t column_sums_bytes(std::int64_t rows, std::int64_t channels) {
  return static_cast<std::size_t>(column_chunks(rows)) * static_cast<std::size_t>(channels) * sizeof(Sums);
}

/// partial[chunk][c] = the sum over the chunk's rows of what f adds. F::Columns<kN>(f, place) holds what a thread needs
/// of its kN channels, in registers; its add(place, sums) adds to sums[0..kN), of the type F::Sums, what they have in a
/// row.
template <class F, int kN>
__global__ void column_sums_kernel(std::int64_t rows, std::int64_t channels, std::int64_t per_chunk, F f,
                                   typename F::Sums* partial) {
  using Sums = typename F::Sums;
  struct Shared {
    Sums sums[kRowLanes][kColumnLanes * kN + 1];
  };
  Shared& shared = dev::shared<Shared>();
  const int column = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const std::int64_t c = (std::int64_t{blockIdx.x} * kColumnLanes + column) * kN;
  const std::int64_t first = std::int64_t{blockIdx.y} * per_chunk;
  const std::int64_t end = first + per_chunk < rows ? first + per_chunk : rows;
  Sums sums[kN];
  for (int j = 0; j < kN; ++j) sums[j] = {};
  if (c < channels) {
    const typename F::template Columns<kN> columns(f, ColumnPlace{first, c, channels});
#pragma unroll 2
    for (std::int64_t row = first + lane; row < end; row += kRowLanes) columns.add(ColumnPlace{row, c, channels}, sums);
  }
  for (int j = 0; j < kN; ++j) shared.sums[lane][column * kN + j] = sums[j];
  dev::syncthreads();
  const int mine = lane * kColumnLanes + column;  // one thread a channel from here on
  const std::int64_t channel = std::int64_t{blockIdx.x} * kColumnLanes * kN + mine;
  if (mine >= kColumnLanes * kN || channel >= channels) return;
  Sums total{};
  for (int i = 0; i < kRowLanes; ++i) total += shared.sums[i][mine];
  partial[blockIdx.y * channels + channel] = total;
}

/// kWide: channels that one access takes where their number and the pointers allow.
template <int kWide, class F>
void column_sums(const char* name, Stream stream, std::int64_t rows, std::int64_t channels, bool wide, F f,
                 typename F::Sums* partial) {
  const int n = wide ? kWide : 1;
  const unsigned columns = static_cast<unsigned>((channels + kColumnLanes * n - 1) / (kColumnLanes * n));
  dev::launch(name, wide ? column_sums_kernel<F, kWide> : column_sums_kernel<F, 1>,
              {{columns, static_cast<unsigned>(column_chunks(rows))}, {kColumnLanes, kRowLanes}}, stream, rows,
              channels, chunk_rows(rows), f, partial);
}

/// Stage two, in a block of kFinishLanes x kFinishLanes threads: x a channel, y a share of the chunks.
inline constexpr int kFinishLanes = 32, kFinishThreads = kFinishLanes * kFinishLanes;
class ColumnFinish {
 public:
  __device__ ColumnFinish() : shared_(dev::shared<Shared>()) {}
  __device__ static std::int64_t channel() { return std::int64_t{blockIdx.x} * kFinishLanes + threadIdx.x; }

  /// The sum of f(chunk) over all chunks, for the thread's channel; f is not called for channels that do not exist. All
  /// threads of the block call it, and all threads of a channel get the sum.
  template <class F>
  __device__ double sum(int chunks, std::int64_t channels, const F& f) {
    double value = 0;
    if (channel() < channels)
      for (int chunk = static_cast<int>(threadIdx.y); chunk < chunks; chunk += kFinishLanes) value += f(chunk);
    shared_.values[threadIdx.y][threadIdx.x] = value;
    dev::syncthreads();
    value = 0;
    for (int i = 0; i < kFinishLanes; ++i) value += shared_.values[i][threadIdx.x];
    dev::syncthreads();
    return value;
  }
  /// True for the one thread that writes a channel's result.
  __device__ static bool writes(std::int64_t channels) { return threadIdx.y == 0 && channel() < channels; }

 private:
  struct Shared {
    double values[kFinishLanes][kFinishLanes + 1];
  };
  Shared& shared_;
};

inline dev::LaunchShape finish_grid(std::int64_t channels) {
  return {{static_cast<unsigned>((channels + kFinishLanes - 1) / kFinishLanes)}, {kFinishLanes, kFinishLanes}};
}

}  // namespace retort::RETORT_BACKEND
