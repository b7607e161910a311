#include "engine/data/measure.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/core/check.h"
#include "engine/core/parallel.h"
#include "engine/data/colour.h"

namespace retort {
namespace {

/// Exact up to 2^48 pixels a channel.
struct Sums {
  std::array<std::uint64_t, 3> first{}, second{};  ///< of the samples, and of their squares
  std::uint64_t pixels = 0;

  void add(const Image& image, std::int64_t channels) {
    const auto n = static_cast<std::size_t>(image.width * image.height);
    const std::uint8_t* pixel = image.pixels.data();
    for (std::size_t i = 0; i < n; ++i, pixel += image.channels)
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::uint64_t value = sample(pixel, image.channels, channels, c);
        first[static_cast<std::size_t>(c)] += value;
        second[static_cast<std::size_t>(c)] += value * value;
      }
    pixels += n;
  }
  void add(const Sums& other) {
    for (std::size_t c = 0; c < 3; ++c) {
      first[c] += other.first[c];
      second[c] += other.second[c];
    }
    pixels += other.pixels;
  }

 private:
  static std::uint64_t sample(const std::uint8_t* pixel, std::int64_t has, std::int64_t wanted, std::int64_t channel) {
    if (has == wanted) return pixel[channel];
    if (has == 1) return pixel[0];
    const std::array<float, 3> rgb{static_cast<float>(pixel[0]), static_cast<float>(pixel[1]),
                                   static_cast<float>(pixel[2])};
    return static_cast<std::uint64_t>(std::lround(luma(rgb.data())));
  }
};

}  // namespace

PixelStatistics measure_pixels(const Dataset& dataset) {
  check(dataset.size() > 0, "pixels: the dataset holds no images to measure; give it some");
  const std::int64_t channels = dataset.native_channels(), n = dataset.size();
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<Sums> sums(static_cast<std::size_t>(blocks));
  parallel_each(blocks, [&](std::int64_t block) {
    for (std::int64_t i = block * kBlock; i < std::min(n, (block + 1) * kBlock); ++i)
      sums[static_cast<std::size_t>(block)].add(dataset.load(i), channels);
  });
  Sums all;
  for (const Sums& part : sums) all.add(part);
  PixelStatistics statistics;
  const auto pixels = static_cast<double>(all.pixels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    // n sum(x^2) - sum(x)^2 without rounding: it may be small beside either.
    const auto squares = static_cast<unsigned __int128>(all.pixels) * all.second[c],
               square = static_cast<unsigned __int128>(all.first[c]) * all.first[c];
    const double deviation = std::sqrt(static_cast<double>(squares - square)) / pixels / 255;
    statistics.mean.push_back(static_cast<double>(all.first[c]) / pixels / 255);
    statistics.std.push_back(deviation > 0 ? deviation : 1);
  }
  return statistics;
}

}  // namespace retort
