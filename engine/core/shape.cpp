#include "engine/core/shape.h"

#include "engine/core/check.h"

namespace retort {

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  check(extents.size() <= kMaxRank, "[shape] ", extents.size(), " axes; use at most ", kMaxRank);
  for (const std::int64_t extent : extents) {
    check(extent >= 0, "[shape] axis ", rank_, " has the extent ", extent, "; use 0 or more");
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
}

std::int64_t Shape::count() const {
  std::int64_t count = 1;
  for (int axis = 0; axis < rank_; ++axis) count *= (*this)[axis];
  return count;
}

std::string to_string(const Shape& shape) { return text(shape); }

std::ostream& operator<<(std::ostream& stream, const Shape& shape) {
  stream << '[';
  for (int axis = 0; axis < shape.rank(); ++axis) stream << (axis ? ", " : "") << shape[axis];
  return stream << ']';
}

}  // namespace retort
