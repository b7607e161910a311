#include "engine/io/extents.h"

#include <algorithm>
#include <limits>

#include "engine/core/check.h"

namespace retort {

Shape shape_from_file(std::span<const std::int64_t> extents, const std::string& where) {
  check(extents.size() <= Shape::kMaxRank, where, "has ", extents.size(), " axes, expected at most ", Shape::kMaxRank,
        "; reshape it before saving");
  constexpr std::int64_t kMaxElements = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t product = 1;  // with 1 for 0, so that no product of some of the extents overflows either
  for (const std::int64_t extent : extents)
    check(extent >= 0 && !__builtin_mul_overflow(product, std::max<std::int64_t>(extent, 1), &product) &&
              product <= kMaxElements,
          where, "has a shape that overflows: extent ", extent, "; write or download the file again");
  switch (extents.size()) {
    case 0: return {};
    case 1: return {extents[0]};
    case 2: return {extents[0], extents[1]};
    case 3: return {extents[0], extents[1], extents[2]};
  }
  return {extents[0], extents[1], extents[2], extents[3]};
}

}  // namespace retort
