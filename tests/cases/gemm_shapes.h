// The shapes that matrix products are tested with.
#pragma once

#include "kernels/gemm.h"
#include "tests/cases/work.h"

namespace retort::test {

struct GemmShape {
  std::int64_t m, n, k;
  Work work = Work::usual;
};

inline constexpr GemmShape kGemmShapes[] = {
    // 1, primes, around one and two vectors (8, 16, 32), around the tile (6, 14) and a block's (64), around 28 rows
    // where B is read in place.
    {1, 1, 1, Work::little},
    {1, 17, 5},
    {2, 1, 31},
    {3, 5, 7},
    {5, 7, 1},
    {7, 31, 33},
    {8, 33, 64},
    {13, 15, 40},
    {14, 16, 32},
    {15, 47, 257, Work::much},
    {28, 65, 70, Work::much},
    {29, 48, 19},
    {97, 3, 11},
    {43, 127, 31, Work::much},
    {64, 64, 32},
    {65, 130, 40},
    {10, 9, 700},
    {101, 64, 300, Work::much},
    // In eights, as Hopper's copies want them: more than a tile each way, and split along k.
    {136, 72, 200},
    {24, 136, 520}};

/// More rows than a block (504), more depth than two (256, in bf16 512), columns split among threads, few rows with
/// more columns than are packed at a time, and long shallow products.
inline constexpr GemmShape kGemmBlocks[] = {{611, 35, 1030, Work::much},
                                            {9, 700, 521, Work::much},
                                            {5, 2500, 70, Work::much},
                                            {1013, 40, 8, Work::much},
                                            {70, 523, 263, Work::much}};

/// 72 tiles of 128 x 128, the last row and column of them cut: so many fill a GPU with the largest tile. And more tiles
/// than an H200 has multiprocessors: a block of a persistent kernel makes several.
inline constexpr GemmShape kGemmLargeTiles[] = {{1100, 1001, 45}, {17000, 8, 8}};

}  // namespace retort::test
