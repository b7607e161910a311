// Rendering a view: resize, mirror, colour, operations, normalise, erase.
#include "engine/data/transform.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/core/check.h"
#include "engine/data/colour.h"

namespace retort {
namespace {

bool inside(const Box& box, const Image& image) {
  return box.x >= 0 && box.y >= 0 && box.x + box.width <= static_cast<double>(image.width) &&
         box.y + box.height <= static_cast<double>(image.height);
}

/// The whole pixels around a box, black where they lie outside the image; moves the box into them.
Image padded(const Image& image, Box& box) {
  const std::int64_t left = static_cast<std::int64_t>(std::floor(box.x));
  const std::int64_t top = static_cast<std::int64_t>(std::floor(box.y));
  Image out{static_cast<std::int64_t>(std::ceil(box.x + box.width)) - left,
            static_cast<std::int64_t>(std::ceil(box.y + box.height)) - top,
            image.channels,
            {}};
  out.pixels.assign(static_cast<std::size_t>(out.width * out.height * out.channels), 0);
  const std::int64_t first = std::max<std::int64_t>(left, 0), last = std::min(left + out.width, image.width);
  for (std::int64_t y = std::max<std::int64_t>(top, 0); y < std::min(top + out.height, image.height); ++y)
    if (first < last)
      std::copy_n(&image.pixels[(y * image.width + first) * image.channels], (last - first) * image.channels,
                  &out.pixels[((y - top) * out.width + first - left) * image.channels]);
  box.x -= static_cast<double>(left);
  box.y -= static_cast<double>(top);
  return out;
}

void adjust_colour(std::span<float> samples, std::int64_t channels, const View& view) {
  if (view.brightness != 1) scale_brightness(samples, view.brightness);
  if (view.contrast != 1) scale_contrast(samples, channels, view.contrast);
  if (view.saturation != 1) scale_saturation(samples, channels, view.saturation);
}

/// From samples of 0..255 to a network's input; in place if the channels are as many.
void normalise(std::span<const float> samples, std::int64_t channels, const Preprocessing& to, float* out) {
  // (x / 255 - mean) / std = x * scale + offset, in runs that hold whole pixels and whole vectors.
  constexpr std::size_t kRun = 48;
  float scale[kRun], offset[kRun];
  for (std::size_t i = 0; i < kRun; ++i) {
    const std::size_t c = i % static_cast<std::size_t>(to.channels);
    scale[i] = static_cast<float>(1 / (255 * to.std[c]));
    offset[i] = static_cast<float>(-to.mean[c] / to.std[c]);
  }
  if (channels == to.channels) {
    std::size_t at = 0;
    for (; at + kRun <= samples.size(); at += kRun)
      for (std::size_t i = 0; i < kRun; ++i) out[at + i] = samples[at + i] * scale[i] + offset[i];
    for (std::size_t i = 0; at + i < samples.size(); ++i) out[at + i] = samples[at + i] * scale[i] + offset[i];
  } else if (to.channels == 1) {
    for (std::size_t i = 0; i < samples.size(); i += 3) *out++ = luma(&samples[i]) * scale[0] + offset[0];
  } else {
    for (const float grey : samples)
      for (int c = 0; c < 3; ++c) *out++ = grey * scale[c] + offset[c];
  }
}

/// Fills a box of shares of the side with 0.
void erase(const Box& box, const Preprocessing& to, float* out) {
  const auto pixel = [&](double share) {
    return std::llround(std::clamp(share, 0.0, 1.0) * static_cast<double>(to.image_size));
  };
  const std::int64_t left = pixel(box.x), right = pixel(box.x + box.width);
  for (std::int64_t y = pixel(box.y); y < pixel(box.y + box.height); ++y)
    std::fill_n(out + (y * to.image_size + left) * to.channels, (right - left) * to.channels, 0.0f);
}

void check_preprocessing(const Preprocessing& to) {
  check(to.image_size >= 1, "preprocessing: an image size of ", to.image_size,
        ", expected at least 1; correct --image-size");
  check(to.channels == 1 || to.channels == 3, "preprocessing: ", to.channels,
        " channels, but images have 1 or 3; choose another model");
  const auto entries = static_cast<std::size_t>(to.channels);
  check(to.mean.size() == entries && to.std.size() == entries, "preprocessing: ", to.mean.size(), " means and ",
        to.std.size(), " standard deviations for ", entries, " channels; correct --mean and --std");
  for (const double std : to.std)
    check(std > 0, "preprocessing: a standard deviation of ", std, ", expected more than 0; correct --std");
}

}  // namespace

void render(const Image& image, const View& view, const Preprocessing& to, float* out) {
  check_preprocessing(to);
  const std::int64_t size = to.image_size, channels = image.channels;
  const auto count = static_cast<std::size_t>(size * size * channels);
  std::vector<float> apart(channels == to.channels ? 0 : count);  // else in place
  const std::span<float> samples(channels == to.channels ? out : apart.data(), count);
  Box box = view.box;
  if (inside(box, image)) {
    resize(image, box, size, size, view.flip, samples.data());
  } else {
    const Image around = padded(image, box);
    resize(around, box, size, size, view.flip, samples.data());
  }
  adjust_colour(samples, channels, view);
  for (const ImageOperation& operation : view.operations) apply_operation(operation, size, channels, samples);
  normalise(samples, channels, to, out);
  if (view.erased) erase(*view.erased, to, out);
}

}  // namespace retort
