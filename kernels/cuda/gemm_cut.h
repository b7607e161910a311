// Which tile a block of a product makes, and into how many parts its depth is cut: chosen together, as a product with
// few tiles is only cut fine enough to fill a GPU with one of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/backend.h"

namespace retort::RETORT_BACKEND {

/// How a product is cut.
struct Cut {
  enum class Tile : std::uint8_t { large, narrow, small };  ///< 128 x 128, 128 x 64, 64 x 64
  Tile tile = Tile::small;
  std::int64_t splits = 1, per_split = 1;  ///< per_split: slices of k
};

/// The cut of C [m, n], `slices` slices of k deep, `groups` times, that costs least by a model. Its unit is what a
/// slice of a 128 x 128 tile takes with two such blocks on each of an H200's 132 multiprocessors. A block takes its
/// slices and what its beginning and end are worth; blocks that fill the GPU take turns, and fewer are as slow as one
/// alone. The numbers are estimates of a model, not measured: smaller tiles read more for each multiplication.
inline Cut choose_cut(std::int64_t m, std::int64_t n, std::int64_t groups, std::int64_t slices) {
  struct Candidate {
    Cut::Tile tile;
    std::int64_t m, n;
    double alone, shared;  ///< of a slice: the least it takes, and its share of the GPU's time
  };
  constexpr Candidate kCandidates[] = {{Cut::Tile::large, 128, 128, 0.7, 1},
                                       {Cut::Tile::narrow, 128, 64, 0.45, 0.6},
                                       {Cut::Tile::small, 64, 64, 0.3, 0.375}};
  constexpr std::int64_t kBusy = 264;  // blocks of the largest tile that fill the GPU
  constexpr double kBlock = 4;         // a block's beginning and end, in slices
  constexpr double kLaunch = 3;        // of the kernel that adds parts
  constexpr double kPart = 2.8e-6;     // of an element of a part: 8 bytes, written and read, at 4 TB/s
  Cut best;
  double least = -1;
  for (const Candidate& tile : kCandidates) {
    // Half of such a tile would stay empty.
    if ((tile.m > 64 && m <= 64) || (tile.n > 64 && n <= 64)) continue;
    const std::int64_t tiles = (m + tile.m - 1) / tile.m * ((n + tile.n - 1) / tile.n) * groups;
    // At least 16 slices a part, for its beginning and end not to count.
    const std::int64_t most = std::max<std::int64_t>(1, std::min(slices / 16, 2 * kBusy / tiles));
    for (std::int64_t wanted = 1; wanted <= most; ++wanted) {
      const std::int64_t per_split = std::max<std::int64_t>(1, (slices + wanted - 1) / wanted);
      const std::int64_t splits = std::max<std::int64_t>(1, (slices + per_split - 1) / per_split);
      const double slice = std::max(tile.alone, tile.shared * static_cast<double>(tiles * splits) / kBusy);
      double cost = slice * (static_cast<double>(per_split) + kBlock);
      if (splits > 1) cost += kLaunch + kPart * static_cast<double>(splits * groups * m * n);
      if (least >= 0 && cost >= least) continue;
      least = cost;
      best = {tile.tile, splits, per_split};
    }
  }
  return best;
}

}  // namespace retort::RETORT_BACKEND
