// Maps over [rows, channels] that need a few numbers of each channel: a thread keeps to one group of channels, so that
// it reads those once and holds them in registers, and walks down the rows of its block, two at a time.
#pragma once

#include "kernels/cuda/common.h"

namespace retort::RETORT_BACKEND {

inline constexpr int kChannelThreads = 256;

/// What a launch covers: `per_block` rows of it a block.
struct ChannelRows {
  std::int64_t rows, channels, per_block;
};

/// Threads of a block side by side over groups of n channels, and below each other over rows.
struct ChannelLaunch {
  ChannelRows rows;
  dev::LaunchShape shape;
  ChannelLaunch(std::int64_t row_count, std::int64_t channels, int n) : rows{row_count, channels, 0} {
    const std::int64_t groups = channels / n, columns = (groups + kChannelThreads - 1) / kChannelThreads;
    const std::int64_t across = (groups + columns - 1) / columns, down = kChannelThreads / across;
    // Enough rows a thread that reading the channels' numbers does not count, but enough blocks for a large GPU.
    std::int64_t per_thread = 16;
    const auto blocks = [&] { return (row_count + down * per_thread - 1) / (down * per_thread); };
    while (per_thread > 2 && blocks() * columns < 1024) per_thread /= 2;
    rows.per_block = down * per_thread;
    shape = {{static_cast<unsigned>(blocks()), static_cast<unsigned>(columns)},
             {static_cast<unsigned>(across), static_cast<unsigned>(down)}};
  }
};

/// The first of the calling thread's channels; not below `channels`: it has none.
__device__ inline std::int64_t first_channel(int n) {
  return (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
}

/// The element at the channel in the first row of the calling thread's block.
__device__ inline std::int64_t first_element(const ChannelRows& g, std::int64_t channel) {
  return blockIdx.x * g.per_block * g.channels + channel;
}

/// finish(at, load(at)) for the thread's row and those below it in its block, `at` elements behind first_element; both
/// rows of a pair are loaded before either is finished.
template <class Load, class Finish>
__device__ __forceinline__ void each_channel_row(const ChannelRows& g, const Load& load, const Finish& finish) {
  const std::int64_t left = g.rows - blockIdx.x * g.per_block;
  const int rows = static_cast<int>(left < g.per_block ? left : g.per_block);
  const int down = static_cast<int>(blockDim.y), step = down * static_cast<int>(g.channels);
  int row = static_cast<int>(threadIdx.y), at = row * static_cast<int>(g.channels);
  for (; row + down < rows; row += 2 * down, at += 2 * step) {
    const auto one = load(at), two = load(at + step);
    finish(at, one);
    finish(at + step, two);
  }
  if (row < rows) finish(at, load(at));
}

}  // namespace retort::RETORT_BACKEND
