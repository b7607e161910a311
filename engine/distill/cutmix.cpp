#include "engine/distill/cutmix.h"

#include <algorithm>
#include <cmath>

#include "engine/core/random.h"
#include "engine/distill/mixup.h"

namespace retort {
namespace {

/// A box in shares of the side.
Box draw_box(double alpha, Random random) {
  const double side = std::sqrt(1 - random.beta(alpha)), x = random.uniform(), y = random.uniform();
  return {x - side / 2, y - side / 2, side, side};
}

/// Where a share of a side lies, in whole pixels.
std::int64_t pixel(double share, std::int64_t extent) {
  return std::llround(std::clamp(share, 0.0, 1.0) * static_cast<double>(extent));
}

/// Copies the box of picture `from` [h, w, c] to `to`; returns how many pixels it has.
std::int64_t paste(const Box& box, const Shape& shape, const float* from, float* to) {
  const std::int64_t height = shape[1], width = shape[2], channels = shape[3];
  const std::int64_t left = pixel(box.x, width), right = pixel(box.x + box.width, width);
  const std::int64_t top = pixel(box.y, height), bottom = pixel(box.y + box.height, height);
  for (std::int64_t y = top; y < bottom; ++y) {
    const std::int64_t at = (y * width + left) * channels;
    std::copy_n(from + at, (right - left) * channels, to + at);
  }
  return (right - left) * (bottom - top);
}

}  // namespace

void cutmix(Batch& batch, Targets& targets, double alpha, std::uint64_t seed, std::uint64_t epoch,
            const Dataset& dataset) {
  const auto n = static_cast<std::int64_t>(batch.indices.size());
  Tensor weight = Tensor::empty({n});
  for (std::size_t k = 0; k < batch.inputs.size(); ++k) {
    Tensor& input = batch.inputs[k];
    const Shape& shape = input.shape();
    const std::int64_t size = input.count() / n, pixels = shape[1] * shape[2];
    Tensor mixed = input.clone();
    for (std::int64_t i = 0; i < n; ++i) {
      const Box box = draw_box(alpha, Random::of(seed, "cutmix", epoch, dataset.name(batch.indices[i])));
      const std::int64_t pasted =
          paste(box, shape, input.data<float>() + mixing_partner(batch, i) * size, mixed.data<float>() + i * size);
      if (k == 0) weight.data<float>()[i] = 1 - static_cast<float>(pasted) / static_cast<float>(pixels);
    }
    input = mixed;
  }
  if (batch.labels) set_mixed_targets(batch, std::move(weight), targets);
}

}  // namespace retort
