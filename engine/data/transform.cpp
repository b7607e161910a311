// Rendering a view: resize, colour, mirror, normalise.
#include "engine/data/transform.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace retort {
namespace {

/// ITU-R BT.601.
float luma(const float* rgb) { return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]; }

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

float clamped(float value) { return std::clamp(value, 0.0f, 255.0f); }

/// Brightness scales the samples; contrast moves them from the image's mean luma; saturation from the pixel's own luma.
void adjust_colour(std::vector<float>& samples, std::int64_t channels, const View& view) {
  const auto pixels = static_cast<std::int64_t>(samples.size()) / channels;
  const auto grey = [&](std::int64_t i) { return channels == 3 ? luma(&samples[i * 3]) : samples[i]; };
  if (view.brightness != 1)
    for (float& sample : samples) sample = clamped(sample * static_cast<float>(view.brightness));
  if (view.contrast != 1) {
    double sum = 0;
    for (std::int64_t i = 0; i < pixels; ++i) sum += grey(i);
    const float mean = static_cast<float>(sum / static_cast<double>(pixels)),
                factor = static_cast<float>(view.contrast);
    for (float& sample : samples) sample = clamped(mean + factor * (sample - mean));
  }
  if (view.saturation != 1 && channels == 3) {
    const float factor = static_cast<float>(view.saturation);
    for (std::int64_t i = 0; i < pixels; ++i) {
      const float base = grey(i);
      for (int c = 0; c < 3; ++c) samples[i * 3 + c] = clamped(base + factor * (samples[i * 3 + c] - base));
    }
  }
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
  Box box = view.box;
  std::vector<float> samples;
  if (inside(box, image)) {
    samples = resize(image, box, size, size);
  } else {
    const Image around = padded(image, box);
    samples = resize(around, box, size, size);
  }
  adjust_colour(samples, channels, view);

  float scale[3] = {}, offset[3] = {};  // (x / 255 - mean) / std = x * scale + offset
  for (std::int64_t c = 0; c < to.channels; ++c) {
    scale[c] = static_cast<float>(1 / (255 * to.std[c]));
    offset[c] = static_cast<float>(-to.mean[c] / to.std[c]);
  }
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x) {
      const float* pixel = &samples[(y * size + (view.flip ? size - 1 - x : x)) * channels];
      if (to.channels == 1) {
        *out++ = (channels == 3 ? luma(pixel) : *pixel) * scale[0] + offset[0];
      } else {
        for (int c = 0; c < 3; ++c) *out++ = pixel[channels == 3 ? c : 0] * scale[c] + offset[c];
      }
    }
}

}  // namespace retort
