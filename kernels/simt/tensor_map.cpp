// The limits of tensor maps, as CUDA's driver states them (cuda.h, cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col).
#include "kernels/simt/tensor_map.h"

#include <stdexcept>
#include <string>

namespace retort::simt {

void check_map(const TensorMap& map) {
  const auto require = [](bool holds, const std::string& what, std::int64_t value) {
    if (!holds) throw std::invalid_argument("tensor map: " + what + " is " + std::to_string(value));
  };
  require(map.address % 16 == 0, "the address's distance from a multiple of 16",
          static_cast<std::int64_t>(map.address % 16));
  const std::size_t rank = static_cast<std::size_t>(map.rank);
  for (std::size_t d = 0; d < rank; ++d) {
    const std::string of = " of dimension " + std::to_string(d);
    require(map.extent[d] > 0 && map.extent[d] <= std::uint64_t{1} << 32, "the extent" + of + ", from 1 to 2^32,",
            static_cast<std::int64_t>(map.extent[d]));
    require(d == 0 || (map.stride[d] % 16 == 0 && map.stride[d] < std::uint64_t{1} << 40),
            "the stride" + of + ", a multiple of 16 bytes below 2^40,", static_cast<std::int64_t>(map.stride[d]));
    require(map.im2col() || (map.box[d] > 0 && map.box[d] <= 256), "the box" + of + ", from 1 to 256,", map.box[d]);
  }
  for (std::size_t d = 0; map.im2col() && d < 2; ++d) {
    const auto corner = [&](std::int32_t value) {
      require(value >= -128 && value <= 127, "a corner of the bounding box, from -128 to 127,", value);
    };
    corner(map.lower[d]);
    corner(map.upper[d]);
    require(map.step[d] > 0 && map.step[d] <= 8, "an element stride, from 1 to 8,", map.step[d]);
    const std::int64_t width = static_cast<std::int64_t>(map.extent[d + 1]) + map.upper[d] - map.lower[d];
    require(width > 0, "the width of the bounding box, from 1,", width);
  }
  require(map.pixels <= 1024, "the number of pixels of a box, up to 1024,", map.pixels);
}

}  // namespace retort::simt
