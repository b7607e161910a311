// Windows of images, and products with one factor a channel. See kernels/spatial.h.
#pragma once

#include "engine/core/tensor.h"

namespace retort {

/// Rows and columns added at each side, filled with `fill`, or taken away where a number is below 0.
struct Border {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  double fill = 0;
};

/// x [n, h, w, c] -> [n, top + h + bottom, left + w + right, c]. Saves nothing. Throws Error where nothing is left.
Tensor pad(const Tensor& x, const Border& border);

/// x times s, of x's shape; or of one factor a channel: x [n, h, w, c], s [n, 1, 1, c] or [n, c]. Saves both.
Tensor multiply(const Tensor& x, const Tensor& s);

/// y[n, ...] = x[n, ...] + s, the same s for each image: as many elements as one of them has. Saves nothing. Throws
/// Error where they are of another number.
Tensor add_to_each(const Tensor& x, const Tensor& s);

/// Channels begin .. begin + count - 1 of x [..., c]. Saves nothing. Throws Error for channels that are not there.
Tensor take_channels(const Tensor& x, std::int64_t begin, std::int64_t count);

}  // namespace retort
