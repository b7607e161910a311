// What several networks share: the check of their input, and the poolings that recur.
#pragma once

#include <string_view>

#include "engine/core/check.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/pool.h"

namespace retort {

/// Throws Error unless x is [n, h, w, c] with h and w of at least `smallest`; names the network, what it found and what
/// it takes.
inline void check_image(std::string_view network, const Tensor& x, std::int64_t smallest) {
  check(x.shape().rank() == 4, network, ": expected images [n, h, w, c], found ", x.shape());
  const std::int64_t h = x.shape()[1], w = x.shape()[2];
  check(h >= smallest && w >= smallest, network, ": images of ", h, " x ", w, " px are too small: use ", smallest,
        " px or more");
}

/// [n, h, w, c] -> [n, c], the mean of each map.
inline Tensor global_average_pool(const Tensor& x) { return flatten(adaptive_average_pool(x, 1, 1)); }

}  // namespace retort
