// Antialiased resizing by a separable triangle filter. Each output sample is the weighted mean of the input samples
// under a triangle of half-width max(1, scale) around its centre, scale = input pixels per output pixel.
#include "kernels/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/data/image.h"

namespace retort {
namespace {

/// The weights along one axis: output i is the sum of weights[i * taps + k] * input[low + first[i] + k], k < count[i].
struct Filter {
  std::vector<std::int64_t> first, count;
  std::int64_t taps = 0;  ///< the largest count; the weights beyond a smaller one are 0
  std::vector<float> weights;
  std::int64_t low = 0, high = 0;  ///< the inputs in use

  RowFilter of_row() const { return {static_cast<std::int64_t>(first.size()), taps, first.data(), weights.data()}; }
};

/// `mirrored`: the outputs from the last to the first.
Filter make_filter(double start, double length, std::int64_t outputs, std::int64_t extent, bool mirrored) {
  const double scale = length / static_cast<double>(outputs), support = std::max(scale, 1.0);
  const auto centre_of = [&](std::int64_t i) {
    const std::int64_t position = mirrored ? outputs - 1 - i : i;
    return start + (static_cast<double>(position) + 0.5) * scale;
  };
  const auto weight = [&](std::int64_t x, double centre) {
    return std::max(0.0, 1 - std::abs(static_cast<double>(x) + 0.5 - centre) / support);
  };
  Filter filter;
  filter.low = extent;
  for (std::int64_t i = 0; i < outputs; ++i) {
    const double centre = centre_of(i);
    std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(std::floor(centre - support + 0.5)), 0);
    std::int64_t last = std::min<std::int64_t>(static_cast<std::int64_t>(std::floor(centre + support + 0.5)), extent);
    while (last - first > 1 && weight(first, centre) == 0) ++first;
    while (last - first > 1 && weight(last - 1, centre) == 0) --last;
    filter.first.push_back(first);
    filter.count.push_back(last - first);
    filter.taps = std::max(filter.taps, last - first);
    filter.low = std::min(filter.low, first);
    filter.high = std::max(filter.high, last);
  }
  filter.weights.resize(static_cast<std::size_t>(outputs * filter.taps));
  std::vector<double> row(static_cast<std::size_t>(filter.taps));
  for (std::int64_t i = 0; i < outputs; ++i) {
    double sum = 0;
    for (std::int64_t k = 0; k < filter.count[i]; ++k) sum += row[k] = weight(filter.first[i] + k, centre_of(i));
    for (std::int64_t k = 0; k < filter.count[i]; ++k)
      filter.weights[i * filter.taps + k] = static_cast<float>(row[k] / sum);
    filter.first[i] -= filter.low;
  }
  return filter;
}

}  // namespace

void resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height, bool mirrored, float* out) {
  check(width >= 1 && height >= 1, "resize: to ", width, " x ", height, " pixels, expected at least 1 x 1");
  check(box.width > 0 && box.height > 0 && box.x >= 0 && box.y >= 0 &&
            box.x + box.width <= static_cast<double>(image.width) &&
            box.y + box.height <= static_cast<double>(image.height),
        "resize: the box [", box.x, ", ", box.y, ", ", box.width, " x ", box.height, "] is not inside the image of ",
        image.width, " x ", image.height);
  const Filter across = make_filter(box.x, box.width, width, image.width, mirrored);
  const Filter down = make_filter(box.y, box.height, height, image.height, false);
  const RowFilter filter = across.of_row();
  const std::int64_t channels = image.channels, stride = image.width * channels;
  const std::int64_t used = (across.high - across.low) * channels;
  std::vector<float> row(static_cast<std::size_t>(used + row_padding(filter)));
  const std::uint8_t* const pixels = image.pixels.data() + down.low * stride + across.low * channels;
  // Rows first: their sums run over contiguous samples, and leave fewer rows for the slower filter along x.
  for (std::int64_t y = 0; y < height; ++y) {
    weigh_rows(used, pixels + down.first[y] * stride, stride, down.count[y], &down.weights[y * down.taps], row.data());
    float* const out_row = out + y * width * channels;
    channels == 3 ? filter_row_rgb(filter, row.data(), out_row) : filter_row_grey(filter, row.data(), out_row);
  }
}

std::vector<float> resize(const Image& image, const Box& box, std::int64_t width, std::int64_t height) {
  std::vector<float> out(static_cast<std::size_t>(std::max<std::int64_t>(width * height * image.channels, 0)));
  resize(image, box, width, height, /*mirrored=*/false, out.data());
  return out;
}

}  // namespace retort
