// 3 x 3 convolutions at unit stride by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications of the direct sum,
// at a rounding error a few times larger (docs/numerics.md).
//
// The image is cut into tiles of 4 x 4 outputs, each from 6 x 6 inputs. A tile's inputs and the filter are transformed
// to 36 numbers a channel each; what was a convolution is then 36 matrix products:
//
//            rows    cols   depth    A                                B
//   fprop    tiles   k      c        transformed x                    transformed w
//   dgrad    tiles   c      k        transformed dy                   transformed w, turned by 180 degrees
//   wgrad    c       k      tiles    transformed x, transposed        transformed dy
//
// In bf16 the transforms are computed in f32 and rounded to bf16, so that the products are of bf16 with sums in f32: an
// error four times that of the direct sum.
//
// A tile's result depends on nothing but its own inputs, so that neither the batch around it nor the threads change it.
#pragma once

#include "kernels/conv2d.h"

namespace retort::cpu {

/// Whether the pass runs this way: the geometry allows it, it wins, and winograd_enabled(). The batch size has no say
/// in fprop: an image's logits must not depend on it.
template <class T>
bool use_winograd(ConvPass pass, const Conv2dGeometry& geometry);

}  // namespace retort::cpu
