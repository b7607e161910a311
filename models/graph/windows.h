// Windows over maps, as files state them: what convolutions and pools have in common. Begin and end paddings may
// differ.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace retort {

/// The greatest stride, filter and border of a file's windows.
inline constexpr std::int64_t kMaxWindowStep = 1 << 12;

struct Windows {
  std::int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, begin[2] = {}, end[2] = {};
  bool ceil = false;

  bool symmetric() const { return begin[0] == end[0] && begin[1] == end[1]; }
  bool padded() const { return begin[0] || begin[1] || end[0] || end[1]; }
  std::int64_t span(int axis) const { return dilation[axis] * (kernel[axis] - 1) + 1; }
  std::int64_t out(int axis, std::int64_t in) const {
    const std::int64_t room = in + begin[axis] + end[axis] - span(axis);
    std::int64_t count = (ceil ? room + stride[axis] - 1 : room) / stride[axis] + 1;
    if (ceil && (count - 1) * stride[axis] >= in + begin[axis]) --count;
    return room < 0 ? 0 : count;
  }
  /// As many outputs as strides fit into the map; the odd pixel of padding goes to the end, or to the beginning.
  void pad_same(std::int64_t rows, std::int64_t columns, bool odd_at_end) {
    const std::int64_t extents[2] = {rows, columns};
    for (int i = 0; i < 2; ++i) {
      const std::int64_t outputs = (extents[i] + stride[i] - 1) / stride[i];
      const std::int64_t all = std::max<std::int64_t>(0, (outputs - 1) * stride[i] + span(i) - extents[i]);
      begin[i] = odd_at_end ? all / 2 : all - all / 2;
      end[i] = all - begin[i];
    }
  }
  /// Of a pad node.
  std::map<std::string, std::vector<double>> border(double fill) const {
    return {{"top", {static_cast<double>(begin[0])}},
            {"left", {static_cast<double>(begin[1])}},
            {"bottom", {static_cast<double>(end[0])}},
            {"right", {static_cast<double>(end[1])}},
            {"fill", {fill}}};
  }
};

}  // namespace retort
