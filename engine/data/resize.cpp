// Antialiased resizing by a separable triangle filter. Each output sample is the weighted mean of the input samples
// under a triangle of half-width max(1, scale) around its centre, scale = input pixels per output pixel.
#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/data/image.h"

namespace retort {
namespace {

/// The weights along one axis: output i is the sum of weights[offset[i] + k] * input[first[i] + k], k < count[i].
struct Filter {
  std::vector<std::int64_t> first, count, offset;
  std::vector<float> weights;
  std::int64_t low = 0, high = 0;  ///< the inputs in use
};

Filter make_filter(double start, double length, std::int64_t outputs, std::int64_t extent) {
  const double scale = length / static_cast<double>(outputs), support = std::max(scale, 1.0);
  Filter filter;
  filter.low = extent;
  std::vector<double> row;
  for (std::int64_t i = 0; i < outputs; ++i) {
    const double centre = start + (static_cast<double>(i) + 0.5) * scale;
    std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(std::floor(centre - support + 0.5)), 0);
    std::int64_t last = std::min<std::int64_t>(static_cast<std::int64_t>(std::floor(centre + support + 0.5)), extent);
    const auto weight = [&](std::int64_t x) {
      return std::max(0.0, 1 - std::abs(static_cast<double>(x) + 0.5 - centre) / support);
    };
    while (last - first > 1 && weight(first) == 0) ++first;
    while (last - first > 1 && weight(last - 1) == 0) --last;
    row.clear();
    double sum = 0;
    for (std::int64_t x = first; x < last; ++x) sum += row.emplace_back(weight(x));
    filter.first.push_back(first);
    filter.count.push_back(last - first);
    filter.offset.push_back(static_cast<std::int64_t>(filter.weights.size()));
    for (const double value : row) filter.weights.push_back(static_cast<float>(value / sum));
    filter.low = std::min(filter.low, first);
    filter.high = std::max(filter.high, last);
  }
  return filter;
}

/// Filters one row of floats, whose first pixel is `low`, along x.
template <int kChannels>
void filter_row(const Filter& filter, const float* row, float* out) {
  for (std::size_t i = 0; i < filter.first.size(); ++i) {
    const float* in = row + (filter.first[i] - filter.low) * kChannels;
    const float* weights = &filter.weights[filter.offset[i]];
    float sums[kChannels] = {};
    for (std::int64_t k = 0; k < filter.count[i]; ++k)
      for (int c = 0; c < kChannels; ++c) sums[c] += weights[k] * in[k * kChannels + c];
    for (int c = 0; c < kChannels; ++c) *out++ = sums[c];
  }
}

}  // namespace

std::vector<float> resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height) {
  check(width >= 1 && height >= 1, "resize: to ", width, " x ", height, " pixels, expected at least 1 x 1");
  check(box.width > 0 && box.height > 0 && box.x >= 0 && box.y >= 0 &&
            box.x + box.width <= static_cast<double>(image.width) &&
            box.y + box.height <= static_cast<double>(image.height),
        "resize: the box [", box.x, ", ", box.y, ", ", box.width, " x ", box.height, "] is not inside the image of ",
        image.width, " x ", image.height);
  const Filter across = make_filter(box.x, box.width, width, image.width);
  const Filter down = make_filter(box.y, box.height, height, image.height);
  const std::int64_t channels = image.channels, stride = image.width * channels;
  const std::int64_t used = (across.high - across.low) * channels;
  std::vector<float> out(static_cast<std::size_t>(width * height * channels)), row(static_cast<std::size_t>(used));
  // Rows first: their sums run over contiguous samples, and leave fewer rows for the slower filter along x.
  for (std::int64_t y = 0; y < height; ++y) {
    std::ranges::fill(row, 0.0f);
    for (std::int64_t k = 0; k < down.count[y]; ++k) {
      const std::uint8_t* in = image.pixels.data() + (down.first[y] + k) * stride + across.low * channels;
      const float weight = down.weights[down.offset[y] + k];
      for (std::int64_t i = 0; i < used; ++i) row[i] += weight * static_cast<float>(in[i]);
    }
    float* out_row = out.data() + y * width * channels;
    channels == 3 ? filter_row<3>(across, row.data(), out_row) : filter_row<1>(across, row.data(), out_row);
  }
  return out;
}

}  // namespace retort
