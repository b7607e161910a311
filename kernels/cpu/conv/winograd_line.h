// Filters of one row or one column (1 x 7, 7 x 1, 1 x 3, 3 x 1 ...) at unit stride by Winograd's algorithm along that
// one axis. An image falls into lines; a line is cut into tiles of M outputs, and the filter into blocks of R taps.
//
//   filter                  scheme     products of a tile and block   multiplications of the direct sum's
//   3 taps                  F(4, 3)    6                              1 / 2
//   4 to 8 taps             F(6, 4)    9                              3 / 7 (7 taps, two blocks)
//   4 to 8 taps, in bf16    F(5, 4)    8                              16 / 35 (7 taps, two blocks)
//
// In bf16 the transforms are computed in f32 and rounded to bf16 for the products, as in winograd.h.
//
// Each block's M + R - 1 products are matrix products, as in winograd.h; those of a tile's blocks are one product whose
// depth runs over blocks and channels:
//
//            rows             cols   depth              A                                B
//   fprop    tiles            k      blocks of taps, c  transformed x                    transformed w
//   dgrad    tiles            c      blocks of taps, k  transformed dy                   transformed w, taps reversed
//   wgrad    blocks, c        k      tiles              transformed x, transposed        transformed dy
//
// Neither the batch around a line nor the threads change its bits.
#pragma once

#include "kernels/conv2d.h"

namespace retort::cpu {

/// Whether the pass runs this way: the geometry allows it, it wins, and winograd_enabled().
template <class T>
bool use_winograd_line(ConvPass pass, const Conv2dGeometry& geometry);

}  // namespace retort::cpu
