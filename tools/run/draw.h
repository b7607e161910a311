// Pictures drawn from a seed: coloured shapes on noisy ground for the demo, and stand-ins for photos.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// The classes, sorted by name as a folder of classes is.
const std::vector<std::string>& shape_names();

/// One picture of a class: the shape, bright, at a random place, size, tilt and colour over a dark gradient, with
/// grain. Depends on (seed, shape, number) alone.
Image draw_shape(std::int64_t shape, std::int64_t size, std::uint64_t seed, std::uint64_t number);

/// What keeps a JPEG decoder as busy as a photo: clouds of eight octaves whose strength falls with frequency, behind
/// shapes with sharp edges, with grain. Depends on (seed, number) alone.
Image draw_photo(std::int64_t width, std::int64_t height, std::uint64_t seed, std::uint64_t number);

/// Writes folder/train/<class>/0001.png ... and folder/val/<class>/... Throws Error if the disk refuses.
void draw_dataset(const std::string& folder, std::int64_t train_per_class, std::int64_t val_per_class,
                  std::int64_t size, std::uint64_t seed);

}  // namespace retort
