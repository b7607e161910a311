// A tensor taken apart along its first axis.
#pragma once

#include <span>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// x [n, ...] -> parts [counts[0], ...], [counts[1], ...], ... one after the other, each a view of x's elements; the
/// counts add up to n. Saves nothing. Throws Error where they do not, or one is negative.
std::vector<Tensor> split_rows(const Tensor& x, std::span<const std::int64_t> counts);

}  // namespace retort
