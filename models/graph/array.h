// Constants of a graph from elsewhere while it is read: arrays of any rank, and the few functions by which exporters
// compute shapes and rearrange weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// Row-major. Either whole numbers (shapes, axes) or floats (weights); the other list is empty.
struct Array {
  std::vector<std::int64_t> dims;
  bool whole = false;
  std::vector<std::int64_t> integers;
  std::vector<float> reals;

  std::int64_t count() const;
  double at(std::int64_t index) const {
    return whole ? static_cast<double>(integers[static_cast<std::size_t>(index)])
                 : reals[static_cast<std::size_t>(index)];
  }
  static Array of(std::vector<std::int64_t> values);
};

/// What constants may become by being repeated.
inline constexpr std::int64_t kMaxRepeated = 1 << 24;

/// The product of extents; -1 where it is above 2^40 or one is negative.
std::int64_t checked_count(std::span<const std::int64_t> dims);

/// All throw Error, its message beginning with `where`, for shapes that do not fit, and for more elements than both
/// kMaxRepeated and their largest operand (concat: than all of them) has.
Array reshape(Array x, std::vector<std::int64_t> dims, const std::string& where);
Array transpose(const Array& x, const std::vector<std::int64_t>& order, const std::string& where);
Array concat(const std::vector<const Array*>& parts, std::int64_t axis, const std::string& where);
Array gather(const Array& x, const Array& indices, std::int64_t axis, const std::string& where);
/// Elements begin, begin + step, ... before end of one axis, with ONNX's rules for what is out of range.
Array slice(const Array& x, std::int64_t axis, std::int64_t begin, std::int64_t end, std::int64_t step,
            const std::string& where);
/// The extents of a new shape whose 0 (if `zero_copies`) and -1 stand for what `dims` has.
std::vector<std::int64_t> resolve_shape(const std::vector<std::int64_t>& dims, const std::vector<std::int64_t>& wanted,
                                        bool zero_copies, const std::string& where);
/// An axis counted from the front; Error unless it is in [-rank, rank).
std::int64_t resolve_axis(std::int64_t axis, std::size_t rank, const std::string& where);
/// op(a, b) with NumPy's broadcasting; op is one of + - * / =, the last 1 where they are equal and 0 elsewhere. A
/// quotient of whole numbers is cut.
Array arithmetic(char op, const Array& a, const Array& b, const std::string& where);
/// a where the condition is not 0, else b.
Array select(const Array& condition, const Array& a, const Array& b, const std::string& where);
/// x repeated along axes of one, with NumPy's broadcasting.
Array expand(const Array& x, const std::vector<std::int64_t>& dims, const std::string& where);

/// Half precision as float.
float half_to_float(std::uint16_t bits);

}  // namespace retort
