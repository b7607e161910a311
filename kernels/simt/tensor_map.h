// Tensors in global memory as bulk tensor copies see them: what CUDA's driver encodes in a CUtensorMap, and which rows
// of 128 bytes a copy of a box moves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace retort::simt {

inline constexpr int kMapRanks = 4;              ///< the most dimensions that a map has here
inline constexpr std::uint32_t kRowBytes = 128;  ///< of a box, and of the swizzle

/// Dimensions are innermost first. Elements are bf16; the 64 of a row are swizzled by 128 bytes.
struct alignas(64) TensorMap {
  std::uint64_t mark = 0;  ///< kMapMark in a map that was encoded
  std::uint64_t address = 0;
  std::array<std::uint64_t, kMapRanks> extent{}, stride{};  ///< stride: bytes
  std::array<std::uint32_t, kMapRanks> box{};               ///< of a tiled map
  // Of an im2col map: the corners of the bounding box of first taps, W then H; how far first taps are apart.
  std::array<std::int32_t, 2> lower{}, upper{}, step{};
  std::int32_t rank = 0, pixels = 0;  ///< pixels: of an im2col map, else 0

  bool im2col() const { return pixels > 0; }
  std::uint32_t bytes() const {
    std::uint32_t rows = im2col() ? static_cast<std::uint32_t>(pixels) : 1;
    for (int d = 1; d < rank && !im2col(); ++d) rows *= box[static_cast<std::size_t>(d)];
    return rows * kRowBytes;
  }
};

/// Checks a map's extents against the limits of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col. Throws
/// std::invalid_argument that names the limit.
void check_map(const TensorMap& map);

/// Where a copy's box begins: coordinates, and in an im2col map the tap's offsets, W then H.
struct BoxPlace {
  std::array<std::int32_t, kMapRanks> at{};
  std::array<std::uint32_t, 2> offset{};
};

/// A row of a box: the first `bytes` of it lie at `address`, the rest is outside the tensor.
struct BoxRow {
  std::uint64_t address;
  std::uint32_t bytes;
};

/// Row n of a box is f's n-th call.
template <class F>
void each_row(const TensorMap& map, const BoxPlace& place, const F& f) {
  const std::uint64_t first = static_cast<std::uint32_t>(place.at[0]);
  const std::uint64_t left = first < map.extent[0] ? (map.extent[0] - first) * map.stride[0] : 0;
  const auto row = [&](const std::array<std::int64_t, kMapRanks>& at) {
    std::uint64_t address = map.address + first * map.stride[0];
    bool inside = place.at[0] >= 0;
    for (std::size_t d = 1; d < static_cast<std::size_t>(map.rank); ++d) {
      inside = inside && at[d] >= 0 && static_cast<std::uint64_t>(at[d]) < map.extent[d];
      address += static_cast<std::uint64_t>(at[d]) * map.stride[d];
    }
    f(BoxRow{address, !inside ? 0 : static_cast<std::uint32_t>(left < kRowBytes ? left : kRowBytes)});
  };
  std::array<std::int64_t, kMapRanks> at{};
  for (std::size_t d = 0; d < kMapRanks; ++d) at[d] = place.at[d];
  if (!map.im2col()) {
    const std::array<std::int64_t, kMapRanks> begin = at;
    std::uint32_t rows = map.bytes() / kRowBytes;
    for (; rows > 0; --rows) {
      row(at);
      for (std::size_t d = 1; d < static_cast<std::size_t>(map.rank); ++d) {
        if (++at[d] < begin[d] + map.box[d]) break;
        at[d] = begin[d];
      }
    }
    return;
  }
  // First taps walk through the bounding box, W fastest, and from image to image.
  for (std::int32_t pixel = 0; pixel < map.pixels; ++pixel) {
    row({at[0], at[1] + place.offset[0], at[2] + place.offset[1], at[3]});
    std::size_t d = 1;
    for (; d <= 2; ++d) {
      at[d] += map.step[d - 1];
      if (at[d] < static_cast<std::int64_t>(map.extent[d]) + map.upper[d - 1]) break;
      at[d] = map.lower[d - 1];
    }
    if (d > 2) ++at[3];
  }
}

inline constexpr std::uint64_t kMapMark = 0x7265746F72746D70;

}  // namespace retort::simt
