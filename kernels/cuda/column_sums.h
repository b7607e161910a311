// Sums over the rows of [rows, channels], two values at once: bias gradients, batch statistics and their gradients.
//
// Stage one, here: the rows are cut into chunks, and each block adds those of one chunk for a few channels. Stage two
// is the caller's: it adds the chunks' partial sums in double, in order, so the result never depends on the schedule.
#pragma once

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

struct ColumnPair {
  float first, second;
};

inline constexpr int kColumnLanes = 32, kRowLanes = 8;  ///< of a block
inline constexpr std::int64_t kMinChunkRows = 64, kMaxChunks = 1024;

inline std::int64_t chunk_rows(std::int64_t rows) {
  const std::int64_t wanted = (rows + kMaxChunks - 1) / kMaxChunks;
  return wanted > kMinChunkRows ? wanted : kMinChunkRows;
}
inline int column_chunks(std::int64_t rows) {
  return static_cast<int>((rows + chunk_rows(rows) - 1) / chunk_rows(rows));
}
inline std::size_t column_sums_bytes(std::int64_t rows, std::int64_t channels) {
  return static_cast<std::size_t>(column_chunks(rows)) * static_cast<std::size_t>(channels) * sizeof(ColumnPair);
}

/// partial[chunk][c] = the sum over the chunk's rows of f(row * channels + c, first * channels + c, c), `first` being
/// the chunk's first row.
template <class F>
__global__ void column_sums_kernel(std::int64_t rows, std::int64_t channels, std::int64_t per_chunk, F f,
                                   ColumnPair* partial) {
  struct Shared {
    ColumnPair sums[kRowLanes][kColumnLanes + 1];
  };
  Shared& shared = dev::shared<Shared>();
  const int column = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const std::int64_t c = std::int64_t{blockIdx.x} * kColumnLanes + column;
  const std::int64_t first = std::int64_t{blockIdx.y} * per_chunk;
  const std::int64_t end = first + per_chunk < rows ? first + per_chunk : rows;
  ColumnPair sum{0, 0};
  if (c < channels)
    for (std::int64_t row = first + lane; row < end; row += kRowLanes) {
      const ColumnPair value = f(row * channels + c, first * channels + c, c);
      sum.first += value.first;
      sum.second += value.second;
    }
  shared.sums[lane][column] = sum;
  dev::syncthreads();
  if (lane != 0 || c >= channels) return;
  for (int i = 1; i < kRowLanes; ++i) {
    sum.first += shared.sums[i][column].first;
    sum.second += shared.sums[i][column].second;
  }
  partial[blockIdx.y * channels + c] = sum;
}

template <class F>
void column_sums(const char* name, Stream stream, std::int64_t rows, std::int64_t channels, F f, ColumnPair* partial) {
  const unsigned columns = static_cast<unsigned>((channels + kColumnLanes - 1) / kColumnLanes);
  dev::launch(name, column_sums_kernel<F>,
              {{columns, static_cast<unsigned>(column_chunks(rows))}, {kColumnLanes, kRowLanes}}, stream, rows,
              channels, chunk_rows(rows), f, partial);
}

}  // namespace retort::RETORT_BACKEND
