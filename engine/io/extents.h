// A shape from a file: not to be trusted.
#pragma once

#include <span>
#include <string>

#include "engine/core/shape.h"

namespace retort {

/// The shape of these extents. Throws Error, its message beginning with `where`, for more than Shape::kMaxRank extents,
/// a negative one, or so many elements that their bytes would not fit 63 bits.
Shape shape_from_file(std::span<const std::int64_t> extents, const std::string& where);

}  // namespace retort
